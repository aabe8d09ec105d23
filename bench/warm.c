/* SPDX-License-Identifier: MIT
 *
 * A program with something in its memory before main(), that answers until its client has said the end.
 *
 * warm               echoes
 * warm --fork COUNT  no client: the median times of COUNT forks of itself
 *
 * WARM_MB=N       so many megabytes are touched, in pieces as a program allocates them (0)
 * WARM_DIRTY=N    main(), or a forked copy, first writes to N pages, spread over all that was touched (0)
 * WARM_PLAIN=1    never in huge pages, whoever asks
 * WARM_COLLAPSE=1 with --fork: collapsed into huge pages first
 * WARM_FILE=1     with --fork: moved to a private mapping of a file in huge pages first, as forkport has it done at the gate
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define PIECE_BYTES     ((size_t)64 * 1024)
#define PIECES_MAX      32768
#define PAGE_BYTES      ((uintptr_t)4096)
#define HUGE_BYTES      ((uintptr_t)2 * 1024 * 1024)
#define PIECES_A_MB     16
#define FORKS_MAX       10000
#define LINE_BYTES      512
#define MEDIAN(a, size) ((a)[(size) / 2])

static volatile char **pieces;
static long piece_count;

static long setting(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void touch(void)
{
    long wanted = setting("WARM_MB") * PIECES_A_MB;
    if (setting("WARM_PLAIN"))
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
    if (wanted == 0)
        return;
    pieces = calloc(PIECES_MAX, sizeof *pieces);
    if (!pieces)
        abort();
    for (piece_count = 0; piece_count < wanted && piece_count < PIECES_MAX; piece_count++) {
        char *piece = malloc(PIECE_BYTES);
        if (!piece)
            abort();
        memset(piece, 1, PIECE_BYTES);
        pieces[piece_count] = piece;
    }
}

static void dirty(void)
{
    long count = setting("WARM_DIRTY");
    for (long i = 0; i < count && piece_count > 0; i++)
        *pieces[i * piece_count / count] = 2;
}

static int echo(void)
{
    char line[LINE_BYTES];
    ssize_t got;
    while ((got = read(STDIN_FILENO, line, sizeof line)) > 0) {
        if (write(STDOUT_FILENO, line, (size_t)got) != got)
            return 1;
    }
    return got < 0;
}

/* The heap is one mapping; what does not fill a huge page stays as it is. */
static void collapse(void)
{
    if (piece_count == 0 || setting("WARM_PLAIN"))
        return;
    uintptr_t begin = ((uintptr_t)pieces[0] + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
    uintptr_t end = (uintptr_t)(pieces[piece_count - 1] + PIECE_BYTES) & ~(HUGE_BYTES - 1);
    for (; begin < end; begin += HUGE_BYTES) {
        if (madvise((void *)begin, HUGE_BYTES, MADV_COLLAPSE) < 0)
            perror("warm: cannot collapse");
    }
}

/* Of a private mapping of a file a fork copies only what was written since: the rest can be read from the file again. */
static void move_to_file(void)
{
    if (piece_count == 0)
        return;
    uintptr_t begin = ((uintptr_t)pieces[0] + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    uintptr_t end = (uintptr_t)(pieces[piece_count - 1] + PIECE_BYTES) & ~(PAGE_BYTES - 1);
    uintptr_t base = begin & ~(HUGE_BYTES - 1);
    int fd = memfd_create("warm", MFD_CLOEXEC);
    for (uintptr_t at = begin; at < end;) {
        ssize_t put = pwrite(fd, (const void *)at, end - at, (off_t)(at - base));
        if (put <= 0)
            abort();
        at += (uintptr_t)put;
    }
    if (mmap((void *)begin, end - begin, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
             (off_t)(begin - base)) == MAP_FAILED)
        abort();
    collapse();
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static int time_forks(int count)
{
    double *call = calloc(2 * FORKS_MAX, sizeof *call);
    double *whole = call + FORKS_MAX;
    if (!call)
        abort();
    for (int i = 0; i < count; i++) {
        double before = now_us();
        pid_t pid = fork();
        if (pid == 0) {
            dirty();
            _exit(0);
        }
        call[i] = now_us() - before;
        if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
            perror("warm: cannot fork");
            return 71;
        }
        whole[i] = now_us() - before;
    }
    qsort(call, (size_t)count, sizeof *call, ascending);
    qsort(whole, (size_t)count, sizeof *whole, ascending);
    printf("{\"fork_us\":%.1f,\"whole_us\":%.1f}\n", MEDIAN(call, count), MEDIAN(whole, count));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--fork") == 0) {
        int count = atoi(argv[2]);
        if (setting("WARM_COLLAPSE"))
            collapse();
        if (setting("WARM_FILE"))
            move_to_file();
        return count > 0 && count <= FORKS_MAX ? time_forks(count) : 64;
    }
    dirty();
    return echo();
}
