/*
 * The ways to start a program, and what each extra costs: the figures of doc/decisions.md.
 *
 * ways PROGRAM [ROUNDS [STARTS]]
 *
 * Starts PROGRAM, which should do next to nothing (program-bare reads a line and ends), with its standard input at
 * its end, over and over, never more than one at a time, and waits for each. The ways take turns, round by round;
 * printed are the medians over the rounds of the time and of the CPU time, of this process and its children, per
 * start, in microseconds, and the ratio of the CPU time to that of vfork.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX  99
#define STACK_BYTES 16384

extern char **environ;

static char *arguments[] = {NULL, NULL};
static int input_fd;
static int log_pair[2];
static int epoll_fd;
static char *stack;

/* What fd 2 of the child becomes; -1: it stays. The child's side of every way, but for posix_spawn's. */
static int run(void *stderr_fd)
{
    dup2(input_fd, 0);
    if (*(int *)stderr_fd >= 0)
        dup2(*(int *)stderr_fd, 2);
    execv(arguments[0], arguments);
    _exit(127);
}

static pid_t by_fork(int stderr_fd)
{
    pid_t pid = fork();
    if (pid == 0)
        run(&stderr_fd);
    return pid;
}

static pid_t by_vfork(int stderr_fd)
{
    pid_t pid = vfork();
    if (pid == 0)
        run(&stderr_fd);
    return pid;
}

static pid_t by_posix_spawn(int stderr_fd)
{
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    (void)stderr_fd;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input_fd, 0);
    posix_spawn(&pid, arguments[0], &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static pid_t by_clone_vm(int stderr_fd)
{
    /* Static: the child may still be reading it when this returns. One child is alive at a time. */
    static int passed;
    passed = stderr_fd;
    return clone(run, stack + STACK_BYTES, CLONE_VM | SIGCHLD, &passed);
}

static pid_t by_clone_vm_pidfd(int stderr_fd)
{
    static int passed;
    struct epoll_event event = {.events = EPOLLIN};
    int pidfd = -1;
    passed = stderr_fd;
    pid_t pid = clone(run, stack + STACK_BYTES, CLONE_VM | CLONE_PIDFD | SIGCHLD, &passed, &pidfd);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pidfd, &event);
    epoll_wait(epoll_fd, &event, 1, -1);
    close(pidfd);
    return pid;
}

static pid_t with_shared_socket(int stderr_fd)
{
    (void)stderr_fd;
    return by_clone_vm(log_pair[1]);
}

static pid_t with_own_socket(int stderr_fd)
{
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    (void)stderr_fd;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    getsockname(log_pair[0], (struct sockaddr *)&name, &length);
    if (connect(fd, (struct sockaddr *)&name, length) < 0)
        abort();
    pid_t pid = by_clone_vm(fd);
    waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
    close(fd);
    return pid;
}

static pid_t with_pipe(int stderr_fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    int pipe_fds[2];
    (void)stderr_fd;
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        abort();
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipe_fds[0], &event);
    pid_t pid = by_clone_vm(pipe_fds[1]);
    /* Until the child has executed it has its copy of the descriptor, not ours: closing is safe. */
    close(pipe_fds[1]);
    epoll_wait(epoll_fd, &event, 1, -1);
    close(pipe_fds[0]);
    return pid;
}

static const struct way {
    const char *name;
    pid_t (*start)(int stderr_fd);
} ways[] = {
    {"fork", by_fork},
    {"vfork", by_vfork},
    {"posix_spawn", by_posix_spawn},
    {"clone(VM)", by_clone_vm},
    {"clone(VM), pidfd watched", by_clone_vm_pidfd},
    {"clone(VM), stderr: one socket for all", with_shared_socket},
    {"clone(VM), stderr: a socket each", with_own_socket},
    {"clone(VM), stderr: a pipe each", with_pipe},
};
#define WAYS (sizeof ways / sizeof ways[0])

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static double cpu_now(void)
{
    struct rusage self;
    struct rusage children;
    getrusage(RUSAGE_SELF, &self);
    getrusage(RUSAGE_CHILDREN, &children);
    return seconds(self.ru_utime) + seconds(self.ru_stime) + seconds(children.ru_utime) +
           seconds(children.ru_stime);
}

static double time_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

static void start_many(const struct way *way, int starts)
{
    for (int i = 0; i < starts; i++) {
        int status;
        pid_t pid = way->start(-1);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 127) {
            fprintf(stderr, "ways: cannot run %s: %s\n", arguments[0], way->name);
            exit(71);
        }
    }
}

static void prepare(char *program)
{
    struct sockaddr name = {.sa_family = AF_UNIX};
    arguments[0] = program;
    input_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (input_fd < 0 || stack == MAP_FAILED || epoll_fd < 0 ||
        socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, log_pair) < 0)
        abort();
    /* Only a reader with a name can be connected to: the kernel gives it one. */
    close(log_pair[0]);
    log_pair[0] = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bind(log_pair[0], &name, sizeof name.sa_family);
}

int main(int argc, char **argv)
{
    static double wall[WAYS][ROUNDS_MAX];
    static double cpu[WAYS][ROUNDS_MAX];
    int rounds = argc > 2 ? atoi(argv[2]) : 9;
    int starts = argc > 3 ? atoi(argv[3]) : 1000;
    if (argc < 2 || rounds < 1 || rounds > ROUNDS_MAX || starts < 1) {
        fprintf(stderr, "usage: ways PROGRAM [ROUNDS [STARTS]]\n");
        return 64;
    }
    prepare(argv[1]);
    for (int round = 0; round < rounds; round++) {
        for (size_t way = 0; way < WAYS; way++) {
            double cpu_before = cpu_now();
            double before = time_now();
            start_many(&ways[way], starts);
            wall[way][round] = (time_now() - before) * 1e6 / starts;
            cpu[way][round] = (cpu_now() - cpu_before) * 1e6 / starts;
        }
    }
    double base = median(cpu[1], rounds);
    printf("%-40s %10s %10s %8s\n", "way", "time us", "CPU us", "to vfork");
    for (size_t way = 0; way < WAYS; way++) {
        double used = median(cpu[way], rounds);
        printf("%-40s %10.1f %10.1f %8.3f\n", ways[way].name, median(wall[way], rounds), used, used / base);
    }
    return 0;
}
