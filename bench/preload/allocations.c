/* Preloaded into a hub by `pushhub bench fanout`: counts what it allocates, into the file named by
 * PUSHHUB_ALLOCATIONS_FILE (8 bytes per slot, a slot per thread modulo their number). glibc only:
 * its allocator stands in for the one that the program is linked with, whole, so that no block of
 * one reaches the other. Only runs that are not timed have it. */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* block, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void* block);

enum { slots = 64, words_per_slot = 8 }; /* one cache line each */

static _Atomic uint64_t nowhere[slots * words_per_slot];
static _Atomic uint64_t* counters = nowhere;
static _Atomic unsigned threads;
static __thread unsigned slot_plus_one __attribute__((tls_model("initial-exec")));

__attribute__((constructor)) static void open_counters(void) {
    const char* const path = getenv("PUSHHUB_ALLOCATIONS_FILE");
    if (path == NULL) return;
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (ftruncate(file, sizeof nowhere) == 0) {
        void* const shared =
            mmap(NULL, sizeof nowhere, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared != MAP_FAILED) counters = (_Atomic uint64_t*)shared;
    }
    close(file);
}

static void count(void) {
    if (slot_plus_one == 0)
        slot_plus_one = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % slots + 1;
    atomic_fetch_add_explicit(&counters[(slot_plus_one - 1) * words_per_slot], 1,
                              memory_order_relaxed);
}

void* malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void* calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void* realloc(void* block, size_t size) {
    count();
    return __libc_realloc(block, size);
}

void* memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void* aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void** block, size_t alignment, size_t size) {
    count();
    *block = __libc_memalign(alignment, size);
    return *block == NULL ? 12 /* ENOMEM */ : 0;
}

void free(void* block) { __libc_free(block); }

size_t malloc_usable_size(void* block) {
    static size_t (*_Atomic usable)(void*);
    if (usable == NULL) {
        void* const libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
        usable = libc == NULL ? NULL : (size_t(*)(void*))dlsym(libc, "malloc_usable_size");
        if (usable == NULL) abort();
    }
    return usable(block);
}

/* The operators of C++, by their names in the Itanium ABI. */
static void* made(void* block) {
    if (block == NULL) abort();
    return block;
}
void* _Znwm(size_t size) { return made(malloc(size)); }
void* _Znam(size_t size) { return made(malloc(size)); }
void* _ZnwmSt11align_val_t(size_t size, size_t to) { return made(memalign(to, size)); }
void* _ZnamSt11align_val_t(size_t size, size_t to) { return made(memalign(to, size)); }
void* _ZnwmRKSt9nothrow_t(size_t size, const void* tag) { return (void)tag, malloc(size); }
void _ZdlPv(void* block) { __libc_free(block); }
void _ZdaPv(void* block) { __libc_free(block); }
void _ZdlPvm(void* block, size_t size) { (void)size, __libc_free(block); }
void _ZdaPvm(void* block, size_t size) { (void)size, __libc_free(block); }
void _ZdlPvSt11align_val_t(void* block, size_t to) { (void)to, __libc_free(block); }
void _ZdaPvSt11align_val_t(void* block, size_t to) { (void)to, __libc_free(block); }
void _ZdlPvmSt11align_val_t(void* block, size_t size, size_t to) {
    (void)size, (void)to, __libc_free(block);
}
