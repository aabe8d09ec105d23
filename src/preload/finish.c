/* SPDX-License-Identifier: MIT */
#include "preload/finish.h"

#include "preload/learn.h"
#include "preload/variables.h"

#include <dlfcn.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

static struct {
    finish_function *loader;
    const struct r_debug *list; /* the objects */
    uintptr_t finalize;         /* __cxa_finalize(), of the C++ ABI */
    uintptr_t vdso;             /* the kernel's object (vdso(7)), whose pages no worker may have come to */
} finish;

#if defined(__x86_64__)

static const char landing[] = "f30f1efa";

/* As many bytes as the hexadecimal digits of `shape` say; a pair of dots is any byte. */
static bool is_shape(const uint8_t *code, const char *shape)
{
    for (; *shape != '\0'; shape += 2, code++) {
        if (*shape == '.')
            continue;
        unsigned high = (unsigned)(shape[0] <= '9' ? shape[0] - '0' : shape[0] - 'a' + 10);
        unsigned low = (unsigned)(shape[1] <= '9' ? shape[1] - '0' : shape[1] - 'a' + 10);
        if (*code != (high << 4 | low))
            return false;
    }
    return true;
}

static const uint8_t *skip_landing(const uint8_t *code)
{
    return is_shape(code, landing) ? code + strlen(landing) / 2 : code;
}

/* What the four bytes at `at` say, counted from the end of an instruction that has `rest` bytes more. */
static const uint8_t *far_target(const uint8_t *at, size_t rest)
{
    int32_t distance;

    memcpy(&distance, at, sizeof(distance));
    return at + sizeof(distance) + rest + distance;
}

/* Does the short jump at `at` lead to a return? */
static bool leaves(const uint8_t *at)
{
    return at[2 + (int8_t)at[1]] == 0xc3;
}

/* deregister_tm_clones(), of an empty table, which is compared with its end. */
static bool has_no_clones(const uint8_t *code)
{
    if (is_shape(code, "488d3d........488d05........4839f874.."))
        return far_target(code + 3, 0) == far_target(code + 10, 0) && leaves(code + 17);
    return is_shape(code, "b8........483d........74..") && memcmp(code + 1, code + 7, 4) == 0 &&
           leaves(code + 11);
}

/* Of a fixed address: without __cxa_finalize(). */
static bool is_fixed_nothing(const uint8_t *code)
{
    return is_shape(code, "803d........0075..554889e5e8........c605........015dc3") && leaves(code + 7) &&
           far_target(code + 2, 1) == far_target(code + 20, 1) && has_no_clones(far_target(code + 14, 0));
}

/* A call of __cxa_finalize() by the linker's stub: the address is read from the place that was looked at before. */
static bool is_finalize(const uint8_t *call, const uint8_t *place)
{
    const uint8_t *stub = skip_landing(far_target(call + 1, 0));
    uintptr_t address;

    if (*stub == 0xf2) /* bnd: some linkers put it before a jump */
        stub++;
    memcpy(&address, place, sizeof(address));
    return address == finish.finalize && is_shape(stub, "ff25") && far_target(stub + 2, 0) == place;
}

/*
 * Is this __do_global_dtors_aux() of the compiler's crtbegin? It calls __cxa_finalize(), for functions of its object that were given to
 * atexit(3) or are destructors of C++; at exit(3) the C library calls those itself, last first. It may be called once, and notes that.
 */
static bool is_nothing(const uint8_t *code)
{
    code = skip_landing(code);
    if (is_fixed_nothing(code))
        return true;
    return is_shape(code, "803d........0075..5548833d........004889e5740c488b3d........e8........e8........"
                          "c605........015dc3") &&
           leaves(code + 7) && far_target(code + 2, 1) == far_target(code + 42, 1) &&
           is_finalize(code + 30, far_target(code + 13, 1)) && has_no_clones(far_target(code + 36, 0));
}

/* _fini() of crti and crtn: a frame made and given back. */
static bool is_empty(const uint8_t *code)
{
    return is_shape(skip_landing(code), "4883ec084883c408c3");
}

#else

static bool is_nothing(const uint8_t *code)
{
    (void)code;
    return false;
}

static bool is_empty(const uint8_t *code)
{
    (void)code;
    return false;
}

#endif

/* Has an object with this dynamic section nothing to do at its end? */
static bool is_idle(const ElfW(Dyn) * entry, ElfW(Addr) base)
{
    const uint8_t *const *functions = NULL;
    size_t bytes = 0;

    for (; entry->d_tag != DT_NULL; entry++) {
        void *at = (void *)(base + entry->d_un.d_ptr); /* NOLINT(performance-no-int-to-ptr) */
        if (entry->d_tag == DT_FINI && !is_empty(at))
            return false;
        if (entry->d_tag == DT_FINI_ARRAY)
            functions = at;
        if (entry->d_tag == DT_FINI_ARRAYSZ)
            bytes = entry->d_un.d_val;
    }
    return functions == NULL || bytes == 0 || (bytes == sizeof(*functions) && is_nothing(*functions));
}

/*
 * Has none of all objects something to do? Not known where there are namespaces besides (dlmopen(3), LD_AUDIT). They are read from what
 * debuggers read; dl_iterate_phdr(3) would take a lock, and so write to a page. It is done anew at each end: what was opened at the gate may
 * have given its place, to the byte, to something else.
 */
static bool all_idle(void)
{
    if (finish.list->r_version != 1)
        return false;
    for (const struct link_map *object = finish.list->r_map; object != NULL; object = object->l_next)
        if (object->l_addr != finish.vdso && !is_idle(object->l_ld, object->l_addr))
            return false;
    return true;
}

static void finish_objects(void)
{
    if (!all_idle())
        finish.loader();
    learn_at_end();
}

bool finish_is_called(void)
{
    return finish.loader != NULL;
}

const struct link_map *finish_idle_objects(void)
{
    return finish.loader != NULL && all_idle() ? finish.list->r_map : NULL;
}

finish_function *finish_begin(finish_function *loader)
{
    /* musl has none; it calls the functions itself. With LD_DEBUG the loader says what it did, at the end. */
    if (loader == NULL || variables_find("LD_DEBUG=") != NULL)
        return loader;
    finish.list = dlsym(RTLD_DEFAULT, "_r_debug");
    finish.finalize = (uintptr_t)dlsym(RTLD_DEFAULT, "__cxa_finalize");
    /* glibc 2.35, which has the last of these, is the first that shows further namespaces in the list's version. */
    if (finish.list == NULL || dlsym(RTLD_DEFAULT, "_dl_find_object") == NULL) {
        dlerror(); /* what it would say is not the program's error */
        return loader;
    }
    finish.vdso = getauxval(AT_SYSINFO_EHDR);
    if (finish.vdso == 0) /* which is what a program at a fixed address has */
        finish.vdso = UINTPTR_MAX;
    finish.loader = loader;
    return finish_objects;
}
