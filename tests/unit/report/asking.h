/*
 * asking.h - rules of the verdict, asked about facts made for them
 */
#ifndef TESTS_UNIT_REPORT_ASKING_H
#define TESTS_UNIT_REPORT_ASKING_H

#include <stdbool.h>
#include <stdint.h>

#include "report/verdict/verdict.h"

#define MIB ((int64_t)1024 * 1024)
#define SECOND_US ((int64_t)1000000)

/* A census in which every figure is known. */
struct query_census census_at(int64_t t_us, int64_t rss);
struct facts facts_of(struct query_census census);

/* What the rule of that id says; its id is NULL if it is silent. */
struct finding ask(const struct facts *facts, const char *id);
void drop(struct finding *finding);
bool fires(const struct facts *facts, const char *id);

void check_says(const char *text, const char *part);

#endif
