#include "report/loss.h"

#include "report/units.h"

void
loss_add(struct loss *loss, const struct query_process *process)
{
    loss->events += query_known(process->lost_events);
    loss->batches += query_known(process->lost_batches);
}

bool
loss_is_any(const struct loss *loss)
{
    return loss->events != 0 || loss->batches != 0;
}

void
loss_put(struct text *text, const struct loss *loss)
{
    char n[UNITS_BYTES];
    text_addf(text, "%s event%s", units_count(n, loss->events),
              loss->events == 1 ? "" : "s");
    if (loss->batches != 0)
        text_addf(text, " in %s batch%s", units_count(n, loss->batches),
                  loss->batches == 1 ? "" : "es");
    text_add(text, loss->events == 1 ? " was lost" : " were lost");
}
