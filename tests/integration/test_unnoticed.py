"""The target notices nothing: output, exit status, signals, terminal."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import chain
from chain import record, run, same, wait_for

PYTHON_TALKS = """
import os, sys, threading
print(sys.argv, sys.stdin.read())
sys.stderr.write('on standard error\\n')
threading.Thread(target=lambda: sys.stdout.write('from a thread\\n')).start()
"""

# (what, command, input): each is run bare and under residue.
COMMANDS = [
    ("a program that prints", ("echo", "one", "two words", "-x"), b""),
    ("a program that reads", ("cat",), b"some\0bytes\xff\n" * 1000),
    ("an exit status", ("sh", "-c", "exit 7"), b""),
    ("a signal", ("sh", "-c", "kill -9 $$"), b""),
    ("a signal that dumps core", ("sh", "-c", "ulimit -c 0; kill -SEGV $$"),
     b""),
    ("an option of the program", ("ls", "--help"), b""),
    ("an option before it", ("env", "-u", "HOME", "printenv", "HOME"), b""),
    ("a shell with children", ("sh", "-c", "for i in 1 2 3; do (echo $i; "
                               "ls -d /); done | sort; false"), b""),
    ("an exec", ("sh", "-c", "echo before; exec echo after"), b""),
    ("children that outlive nobody", ("sh", "-c", "(echo a; echo b >&2) & "
                                      "wait"), b""),
    ("closed descriptors", ("sh", "-c", "exec 3>&- 4>&-; echo x"), b""),
    ("a failing program", ("ls", "/no such file"), b""),
]


def bare(command, given):
    return run(*command, input=given)


def test_output_and_status():
    """Output and exit status are those of a bare run"""
    points = []
    python = chain.some_python().path
    target = chain.chain.target
    commands = COMMANDS + [
        ("threads in a child nobody knows", (target("fork_then_thread"),), b""),
        ("handles that threads give back", (target("handle_in_job"),), b""),
        ("no environment at all", (target("no_environment"),), b""),
        ("a sandbox that kills", (target("sandbox"),), b""),
        ("a Python program", (python, "-c", PYTHON_TALKS, "--help", "-o"),
         b"given"),
        ("a Python that fails", (python, "-c", "1/0"), b""),
        ("a Python's own exit", (python, "-c", "import sys; sys.exit(9)"), b""),
        ("os._exit", (python, "-c", "import os; os._exit(11)"), b""),
        ("os.abort", (python, "-c", "import os, resource; resource.setrlimit("
                      "resource.RLIMIT_CORE, (0, 0)); os.abort()"), b""),
        ("subprocesses", (python, "-c", "import subprocess, sys; print("
                          "subprocess.check_output(['echo', 'hi'])); "
                          "subprocess.call(['sh', '-c', 'exit 3'])"), b""),
        ("multiprocessing", (python, "-c", "import multiprocessing as m; "
                             "print(m.Pool(3).map(abs, range(-50, 0)))"), b""),
        ("modules that are imported", (python, "-c", "import sys; "
                                       "print(sorted(sys.modules))"), b""),
        ("warnings as errors", (python, "-W", "error", "-X", "dev", "-c",
                                "print(1)"), b""),
        ("isolated", (python, "-I", "-S", "-c", "print(2)"), b""),
    ]
    for what, command, given in commands:
        expected = bare(command, given)
        status = expected.returncode
        if status < 0:
            status = 128 - status
        result, _ = record(*command, input=given)
        if command[0].startswith(chain.chain.build):
            same("status of the bare %s" % what, status, 0)
        points.append(((result.stdout, result.stderr, result.returncode) ==
                       (expected.stdout, expected.stderr, status), what))
        if not points[-1][0]:
            print("# %s\n#  bare %r\n#  ours %r" % (
                what, (expected.stdout[-300:], expected.stderr[-300:], status),
                (result.stdout[-300:], result.stderr[-300:],
                 result.returncode)))
    return points


def test_malloc_check():
    """MALLOC_CHECK_ ends whom it ends in a bare run"""
    debug = "libc_malloc_debug.so.0"
    checking = chain.clean_environment(MALLOC_CHECK_="3", LD_PRELOAD=debug)
    target = chain.chain.target("overrun")
    expected = run(target, env=checking)
    if expected.returncode == 0:
        raise chain.Skip("%s checks nothing here" % debug)
    same("status without it", run(target).returncode, 0)
    for level in ((), ("--exact",)):
        recording = os.path.join(chain.folder, "it.rec")
        result = run(chain.chain.residue, "run", "-q", "-f", *level, "-o",
                     recording, "--", target, env=checking)
        same("status", result.returncode, 128 - expected.returncode)
        # In other words: the first look at it is ours, for the block's size.
        same("lines on standard error", len(result.stderr.splitlines()),
             len(expected.stderr.splitlines()))


def test_what_we_say_comes_last():
    """Our three lines come after the target's, on standard error alone"""
    result = run(chain.chain.residue, "run", "-o", "x.rec", "sh", "-c",
                 "echo out; echo err >&2")
    same("output", result.stdout, b"out\n")
    lines = result.stderr.decode().splitlines()
    same("the first line", lines[0], "err")
    same("the number of ours", len(lines), 4)
    for line in lines[1:]:
        if not line.startswith("residue: "):
            raise AssertionError("who says %r?" % line)
    if "x.rec" not in lines[2] or "residue why x.rec" not in lines[3]:
        raise AssertionError("neither file nor next command: %r" % lines)


def test_descriptors_are_left_alone():
    """Descriptors inherited or opened have the numbers of a bare run"""
    program = ("import os; r, w = os.pipe(); print(r, w, os.open('/', 0)); "
               "print(sorted(int(n) for n in os.listdir('/proc/self/fd') "
               "if int(n) < 100))")
    command = (chain.some_python().path, "-c", program)
    same("what it prints", record(*command)[0].stdout, run(*command).stdout)


def test_environment():
    """The environment has LD_PRELOAD and RESIDUE_SOCKET more, no else"""
    ours = record("env", "-0")[0].stdout.split(b"\0")
    bare_ones = run("env", "-0").stdout.split(b"\0")
    more = sorted(set(ours) - set(bare_ones))
    same("less", [one for one in bare_ones if one not in ours and
                  not one.startswith(b"_=")], [])
    same("more", [one.split(b"=")[0] for one in more if one[:2] != b"_="],
         [b"LD_PRELOAD", b"RESIDUE_SOCKET"])


# ---- signals ---------------------------------------------------------------

CATCHER = """
import os, signal, sys, time
def caught(number, frame):
    os.write(1, ('caught %d\\n' % number).encode())
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1,
               signal.SIGUSR2, signal.SIGQUIT, signal.SIGWINCH):
    signal.signal(number, caught)
os.write(1, b'ready\\n')
end = time.time() + 30
while time.time() < end:
    time.sleep(0.01)
    if os.path.exists('stop'):
        sys.exit(5)
"""


def test_signals_are_forwarded():
    """A signal to residue reaches the target, once"""
    process = subprocess.Popen(
        (chain.chain.residue, "run", "-q", "-o", "s.rec",
         chain.some_python().path, "-c", CATCHER), cwd=chain.folder,
        stdout=subprocess.PIPE, env=chain.clean_environment(),
        start_new_session=True)
    same("first line", process.stdout.readline(), b"ready\n")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP,
                   signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
        process.send_signal(number)
        same("answer", process.stdout.readline(), b"caught %d\n" % number)
    open(os.path.join(chain.folder, "stop"), "w").close()
    same("the rest", process.stdout.read(), b"")
    same("exit status", process.wait(), 5)


def test_sigterm_ends_a_program_that_does_not_catch_it():
    """SIGTERM to residue ends the target; the status is 143"""
    process = subprocess.Popen(
        (chain.chain.residue, "run", "-q", "-o", "s.rec", "sleep", "60"),
        cwd=chain.folder, env=chain.clean_environment())
    wait_for(lambda: os.path.exists(os.path.join(chain.folder, "s.rec")),
             "the recording")
    time.sleep(0.2)
    process.terminate()
    same("exit status", process.wait(), 143)


# ---- a terminal ------------------------------------------------------------

class Terminal:
    """An interactive bash in a terminal of its own."""

    def __init__(self):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(chain.folder)
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "-i"],
                      chain.clean_environment(PS1="$ ", TERM="dumb",
                                              HISTFILE=""))
        self.seen = ""

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, pattern):
        """Waits until the terminal shows the pattern; forgets up to it."""
        deadline = time.monotonic() + 20
        while not re.search(pattern, self.seen):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError("no %r in %r" % (pattern, self.seen))
            self.seen += os.read(self.fd, 4096).decode("utf-8", "replace")
        found = re.search(pattern, self.seen)
        self.seen = self.seen[found.end():]
        return found

    def close(self):
        self.type("exit\n")
        os.close(self.fd)
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)


def in_terminal(check):
    terminal = Terminal()
    try:
        terminal.expect(r"\$ ")
        check(terminal)
    finally:
        terminal.close()


def start_catcher(terminal, *options):
    with open(os.path.join(chain.folder, "catcher.py"), "w") as program:
        program.write(CATCHER)
    terminal.type("%s run %s -q -f -o t.rec %s catcher.py\n" % (
        chain.chain.residue, " ".join(options), chain.some_python().path))
    terminal.expect("ready")


def test_ctrl_c_reaches_the_target_alone():
    """Ctrl-C reaches the target, once, and nobody else"""
    def check(terminal):
        start_catcher(terminal)
        terminal.type("\x03")
        terminal.expect("caught 2")
        terminal.type("\x1c")
        terminal.expect("caught 3")
        open(os.path.join(chain.folder, "stop"), "w").close()
        terminal.expect(r"\$ ")
        if "caught" in terminal.seen:
            raise AssertionError("a signal came twice: %r" % terminal.seen)
        terminal.type("echo status $?\n")
        terminal.expect("status 5")
    in_terminal(check)


def test_ctrl_c_ends_a_python():
    """Ctrl-C ends a Python as it would bare, and the recording is whole"""
    def check(terminal):
        terminal.type("%s run -q -f -o t.rec %s -c 'import time; "
                      "print(\"re\" + \"ady\"); time.sleep(60)'\n" % (
                          chain.chain.residue, chain.some_python().path))
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("KeyboardInterrupt")
        terminal.expect(r"\$ ")
        terminal.type("echo status $?\n")
        terminal.expect("status 130")
        terminal.type("%s why t.rec; echo why $?\n" % chain.chain.residue)
        terminal.expect("why 0")
    in_terminal(check)


def test_ctrl_z_and_fg():
    """Ctrl-Z stops the job, fg continues it"""
    def check(terminal):
        start_catcher(terminal)
        terminal.type("\x1a")
        terminal.expect("Stopped")
        terminal.expect(r"\$ ")
        terminal.type("jobs\n")
        terminal.expect("Stopped.*residue")
        terminal.type("fg\n")
        terminal.expect("run -q")
        time.sleep(0.2)
        terminal.type("\x03")
        terminal.expect("caught 2")
        open(os.path.join(chain.folder, "stop"), "w").close()
        terminal.expect(r"\$ ")
        terminal.type("echo status $?\n")
        terminal.expect("status 5")
    in_terminal(check)


def test_in_a_pipeline():
    """A pipeline of the shell works as it does bare"""
    def check(terminal):
        terminal.type("%s run -q -f -o t.rec seq 3 | %s run -q -f -o u.rec "
                      "sort -r | tr '\\n' ,; echo end\n" % (
                          chain.chain.residue, chain.chain.residue))
        terminal.expect("3,2,1,end")
    in_terminal(check)


def test_as_process_one():
    """As pid 1 of a namespace residue reaps, forwards and ends"""
    if os.geteuid() != 0:
        raise chain.Skip("only root can make a pid namespace")
    program = ("import os, sys, time\n"
               "if os.fork() == 0:\n"
               "    if os.fork() == 0:\n"
               "        time.sleep(0.2); os._exit(0)\n"
               "    os._exit(0)\n"
               "os.wait(); time.sleep(0.5)\n"
               "print(os.getppid()); sys.exit(6)\n")
    namespace = ("unshare", "--pid", "--fork", "--mount-proc")
    refused = run(*namespace, "true")
    if refused.returncode != 0:
        raise chain.Skip("no pid namespace here: %s" %
                         refused.stderr.decode().strip())
    result = run(*namespace, chain.chain.residue, "run", "-q", "-o",
                 "one.rec", chain.some_python().path, "-c", program)
    same("parent", result.stdout, b"1\n")
    same("exit status", result.returncode, 6)


if __name__ == "__main__":
    chain.main(globals())
