"""Trees whose nodes know their parents: only the cycle collector frees them."""
import scale

DEPTH = 5
CHILDREN = 6


class Node(object):
    def __init__(self, parent):
        self.parent = parent
        self.children = []


def grow(node, depth):
    if depth == 0:
        return
    for _ in range(CHILDREN):
        child = Node(node)
        node.children.append(child)
        grow(child, depth - 1)


for _ in range(scale.steps(1300)):
    grow(Node(None), DEPTH)
