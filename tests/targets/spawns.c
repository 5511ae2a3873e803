/* New images in every way that glibc starts a child by itself. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void
spawn(const char *what, char *const arguments[])
{
    pid_t child = -1;
    int status = -1;
    const int error =
        posix_spawnp(&child, what, NULL, NULL, arguments, environ);
    if (error == 0)
        waitpid(child, &status, 0);
    printf("error %d, status %#x\n", error, status);
}

int
main(void)
{
    char *const arguments[] = {"sh", "-c", "exit 7", NULL};
    char line[16] = "";
    char *kept[100];
    for (int i = 0; i < 100; i++)
        kept[i] = malloc(100 + i);
    spawn("sh", arguments);
    spawn("no such program", arguments);
    printf("system %#x\n", system("exit 6"));
    fflush(stdout);
    FILE *pipe = popen("echo piped", "r");
    if (pipe == NULL || fgets(line, sizeof(line), pipe) == NULL)
        return 2;
    printf("%s%#x\n", line, pclose(pipe));
    for (int i = 0; i < 100; i += 2)
        free(kept[i]);
    return 0;
}
