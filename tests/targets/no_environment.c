/* Starts programs by name after clearenv(3): there is no environ at all. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int
main(void)
{
    char *const arguments[] = {"true", NULL};
    pid_t child;
    int status = -1;
    clearenv();
    errno = 0;
    const int error = posix_spawnp(&child, "true", NULL, NULL, arguments, NULL);
    printf("spawned: %d, errno %d\n", error, errno);
    if (error == 0)
        waitpid(child, &status, 0);
    printf("status %d\n", status);
    fflush(stdout);
    execlp("echo", "echo", "replaced", (char *)NULL);
    return 1;
}
