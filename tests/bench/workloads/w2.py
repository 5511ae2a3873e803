"""A million ints and a million floats in two lists, let go, many times over."""
import scale

for size in scale.rounds(56, 1000000):
    whole = [i + 1000 for i in range(size)]
    halves = [i * 1.5 for i in range(size)]
    del whole, halves
