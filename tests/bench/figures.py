"""The little statistics that the benchmark needs, and its tables."""
import math
import statistics

# Student's t, two-sided 95 %, by degrees of freedom; beyond, the last one does.
T95 = (None, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262,
       2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093,
       2.086)


class Ratio(object):
    """Paired ratios: their median, and the t-interval of their mean (95 %)."""

    def __init__(self, pairs):
        """Of pairs (ours, theirs), each measured one after the other."""
        logs = [math.log(ours / theirs) for ours, theirs in pairs]
        self.least = math.exp(min(logs))
        self.most = math.exp(max(logs))
        self.median = math.exp(statistics.median(logs))
        self.low = self.high = None
        if len(logs) > 1:
            mean = statistics.mean(logs)
            t95 = T95[min(len(logs), len(T95)) - 1]
            half = t95 * statistics.stdev(logs) / math.sqrt(len(logs))
            self.low = math.exp(mean - half)
            self.high = math.exp(mean + half)

    def interval(self):
        if self.low is None:
            return None
        return "%.3f..%.3f" % (self.low, self.high)

    def span(self):
        return "%.2f..%.2f" % (self.least, self.most)


def cell(value, places):
    """A number with so many decimals, a text as it is, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return "{:,.{}f}".format(value, places)


def print_table(title, columns, rows):
    """Columns are (heading, decimals); a heading may have several lines. The
    first cell of a row is its name.
    """
    print("\n" + title)
    height = max(heading.count("\n") for heading, _ in columns) + 1
    headings = [heading.rjust(len(heading) + height - 1 - heading.count("\n"),
                              "\n").split("\n") for heading, _ in columns]
    lines = [[heading[i] for heading in headings] for i in range(height)]
    for row in rows:
        lines.append([cell(value, places)
                      for value, (_, places) in zip(row, columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        print("  " + line[0].ljust(widths[0]) + "".join(
            "  " + text.rjust(width)
            for text, width in zip(line[1:], widths[1:])))


def with_summary(rows, summed_up):
    """Rows, and below them medians and worsts of the columns of these numbers.
    """
    summaries = []
    for name, summary in (("median", statistics.median), ("worst", max)):
        line = [name] + [None] * (len(rows[0]) - 1)
        for i in summed_up:
            known = [row[i] for row in rows if row[i] is not None]
            if known:
                line[i] = summary(known)
        summaries.append(line)
    return rows + summaries
