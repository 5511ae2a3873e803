"""A server's tasks in a rolling window; tasks and parts know each other."""
from collections import deque

import scale

WINDOW = 500
PARTS = 20


class Part(object):
    def __init__(self, task, place):
        self.task = task
        self.name = "part-%d-%d" % (task.number, place)
        self.state = {"place": place, "done": False}


class Task(object):
    def __init__(self, server, number):
        self.server = server
        self.number = number
        self.payload = "." * (number % 700)
        self.parts = [Part(self, place) for place in range(PARTS)]


class Server(object):
    def __init__(self):
        self.window = deque()
        self.by_number = {}

    def serve(self, number):
        task = Task(self, number)
        self.window.append(task)
        self.by_number[number] = task
        for part in task.parts:
            part.state["done"] = True
        if len(self.window) > WINDOW:
            del self.by_number[self.window.popleft().number]


server = Server()
for number in range(scale.steps(280000)):
    server.serve(number)
