/* SPDX-License-Identifier: MIT
 *
 * program.c without a C library: three system calls and nothing else.
 *
 * A program of the C library, static too, asks the processor what it is some seventy times (cpuid) before main().
 * In a virtual machine each of these leaves to the host, for microseconds, which can be most of the cost of a
 * connection and hide what the server costs. Beside this program the server's part is plain to see.
 */
#include <stddef.h>
#include <sys/syscall.h>

#define LINE_BYTES 512

static long call(long number, long first, void *second, size_t third)
{
    long result;
#if defined(__x86_64__)
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = first;
    register void *x1 __asm__("x1") = second;
    register size_t x2 __asm__("x2") = third;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    result = x0;
#else
#error "no system call written for this processor"
#endif
    return result;
}

void _start(void);

void _start(void)
{
    char line[LINE_BYTES];
    long got = call(SYS_read, 0, line, sizeof line);
    long put = got > 0 ? call(SYS_write, 1, line, (size_t)got) : -1;
    for (;;)
        call(SYS_exit_group, got > 0 && put == got ? 0 : 1, NULL, 0);
}
