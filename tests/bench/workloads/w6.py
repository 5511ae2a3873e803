"""Words of generated lines, counted in a dictionary."""
import scale

LINES = 60000
WORDS = 12
VOCABULARY = 20000


def lines(n):
    state = 4711
    for _ in range(n):
        words = []
        for _ in range(WORDS):
            state = (state * 1103515245 + 12345) & 0x7fffffff
            words.append("w%d" % ((state >> 8) % VOCABULARY))
        yield " ".join(words)


def count(n):
    counts = {}
    for line in lines(n):
        for word in line.split():
            word = word.upper()
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


for size in scale.rounds(22, LINES):
    most = count(size)[:100]
