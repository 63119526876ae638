/* Records what a program does to the files of one folder, and of those in it, in the order in which
 * it does it.
 *
 * Preloaded into it (LD_PRELOAD), with the folder, the log and a control file in RECORDER_FOLDER,
 * RECORDER_LOG and RECORDER_CONTROL. Each change of a file, of its size or of a name is one record
 * of the log, appended by one system call; a sync is two, one before it and one when it is done.
 * So a record that stands before the first of them was on its way when the sync began. Several
 * programs may share a log. While the control file says "COUNT SUFFIX", the next COUNT syncs of
 * files whose names end in SUFFIX are not made and fail with EIO.
 *
 * Memory that is mapped is not seen: SQLite maps only `-shm`, which need not survive. Nor need what
 * is in `-reserve`.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST_FILES 65536
#define REAL(name) ((__typeof__(&name))next(#name))

/* tests/crash/recording.py reads these. */
struct __attribute__((packed)) head {
    uint32_t size; /* of what follows this head */
    uint8_t kind;
    uint64_t offset; /* of a write; the size a file is cut to; which sync this is */
    uint32_t path_size;
};

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static char *paths[MOST_FILES];
static char folder[PATH_MAX];
static size_t folder_size;
static const char *control;
static int record_to = -1;
static uint64_t syncs;

static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void)
{
    const char *wanted = getenv("RECORDER_FOLDER"), *log = getenv("RECORDER_LOG");
    control = getenv("RECORDER_CONTROL");
    if (wanted && log && control && realpath(wanted, folder)) {
        folder_size = strlen(folder);
        record_to = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CLOEXEC);
        syncs = (uint64_t)getpid() << 32;
    }
}

static void record(uint8_t kind, const char *path, uint64_t offset, const void *data, size_t size)
{
    struct head head = {(uint32_t)(strlen(path) + size), kind, offset, (uint32_t)strlen(path)};
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)path, head.path_size}, {(void *)data, size}};
    ssize_t all = (ssize_t)(sizeof head + head.size);
    if (syscall(SYS_writev, record_to, parts, 3) != all)
        abort();
}

static int ends_in(const char *path, const char *suffix)
{
    size_t size = strlen(path), end = strlen(suffix);
    return size >= end && strcmp(path + size - end, suffix) == 0;
}

static int is_recorded(const char *path)
{
    return record_to >= 0 && strncmp(path, folder, folder_size) == 0 &&
           (path[folder_size] == '/' || !path[folder_size]) && !ends_in(path, "-shm") &&
           !ends_in(path, "-reserve");
}

static const char *path_of(int file)
{
    return file >= 0 && file < MOST_FILES ? paths[file] : NULL;
}

static void note_path(int file)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0 || file >= MOST_FILES)
        return;
    path[size] = 0;
    if (is_recorded(path))
        paths[file] = strdup(path);
}

static int open_at(int place, const char *path, int flags, mode_t mode)
{
    static int (*real)(int, const char *, int, ...);
    if (!real)
        real = next("openat");
    if (record_to < 0)
        return real(place, path, flags, mode);
    pthread_mutex_lock(&order);
    int is_new = flags & O_CREAT && faccessat(place, path, F_OK, 0) != 0;
    int file = real(place, path, flags, mode);
    int error = errno;
    if (file >= 0) {
        note_path(file);
        if (path_of(file) && is_new)
            record('C', paths[file], 0, NULL, 0);
        else if (path_of(file) && flags & O_TRUNC)
            record('T', paths[file], 0, NULL, 0);
    }
    pthread_mutex_unlock(&order);
    errno = error;
    return file;
}

#define MODE                                                                                       \
    mode_t mode = 0;                                                                               \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                           \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode = va_arg(rest, mode_t);                                                               \
        va_end(rest);                                                                              \
    }

int open(const char *path, int flags, ...)
{
    MODE return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    MODE return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int place, const char *path, int flags, ...)
{
    MODE return open_at(place, path, flags, mode);
}

int openat64(int place, const char *path, int flags, ...)
{
    MODE return open_at(place, path, flags | O_LARGEFILE, mode);
}

int close(int file)
{
    if (path_of(file)) {
        pthread_mutex_lock(&order);
        free(paths[file]);
        paths[file] = NULL;
        pthread_mutex_unlock(&order);
    }
    return REAL(close)(file);
}

/* Make a change and record it, as one step to all who change something. */
#define CHANGE(type, call, condition, kind, path, offset, data, size)                              \
    pthread_mutex_lock(&order);                                                                    \
    type result = call;                                                                            \
    int error = errno;                                                                             \
    if (condition)                                                                                 \
        record(kind, path, offset, data, size);                                                    \
    pthread_mutex_unlock(&order);                                                                  \
    errno = error;                                                                                 \
    return result

ssize_t pwrite64(int file, const void *data, size_t size, off64_t offset)
{
    if (!path_of(file))
        return REAL(pwrite64)(file, data, size, offset);
    CHANGE(ssize_t, REAL(pwrite64)(file, data, size, offset), result > 0, 'W', paths[file], offset,
           data, result);
}

ssize_t pwrite(int file, const void *data, size_t size, off_t offset)
{
    return pwrite64(file, data, size, offset);
}

static uint64_t place_after(int file, ssize_t written)
{
    return (uint64_t)(lseek64(file, 0, SEEK_CUR) - written);
}

ssize_t write(int file, const void *data, size_t size)
{
    if (!path_of(file))
        return REAL(write)(file, data, size);
    CHANGE(ssize_t, REAL(write)(file, data, size), result > 0, 'W', paths[file],
           place_after(file, result), data, result);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    if (!path_of(file))
        return REAL(writev)(file, parts, count);
    ssize_t all = 0;
    for (int part = 0; part < count; part++) {
        ssize_t written = write(file, parts[part].iov_base, parts[part].iov_len);
        if (written < 0)
            return all ? all : written;
        all += written;
    }
    return all;
}

int ftruncate64(int file, off64_t size)
{
    if (!path_of(file))
        return REAL(ftruncate64)(file, size);
    CHANGE(int, REAL(ftruncate64)(file, size), result == 0, 'T', paths[file], size, NULL, 0);
}

int ftruncate(int file, off_t size)
{
    return ftruncate64(file, size);
}

int unlink(const char *path)
{
    char whole[PATH_MAX];
    if (!realpath(path, whole) || !is_recorded(whole))
        return REAL(unlink)(path);
    CHANGE(int, REAL(unlink)(path), result == 0, 'U', whole, 0, NULL, 0);
}

int mkdir(const char *path, mode_t mode)
{
    char whole[PATH_MAX];
    CHANGE(int, REAL(mkdir)(path, mode), result == 0 && realpath(path, whole) && is_recorded(whole),
           'K', whole, 0, NULL, 0);
}

int rename(const char *from, const char *to)
{
    char whole[PATH_MAX], target[PATH_MAX];
    if (!realpath(from, whole) || !is_recorded(whole))
        return REAL(rename)(from, to);
    CHANGE(int, REAL(rename)(from, to), result == 0 && realpath(to, target), 'R', whole, 0, target,
           strlen(target));
}

/* Whether the control file has this sync fail; it is counted down. */
static int is_to_fail(const char *path)
{
    char text[256], suffix[128];
    long count = 0;
    int file = syscall(SYS_openat, AT_FDCWD, control, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    int found =
        sscanf(text, "%ld %127s", &count, suffix) == 2 && count > 0 && ends_in(path, suffix);
    if (found) {
        int length = snprintf(text, sizeof text, "%ld %s\n", count - 1, suffix);
        syscall(SYS_ftruncate, file, 0);
        syscall(SYS_pwrite64, file, text, length, 0);
    }
    syscall(SYS_close, file);
    return found;
}

static int recorded_sync(int file, int (*real)(int))
{
    if (!path_of(file))
        return real(file);
    char path[PATH_MAX];
    pthread_mutex_lock(&order);
    uint64_t number = ++syncs;
    snprintf(path, sizeof path, "%s", paths[file]);
    record('S', path, number, NULL, 0);
    int fails = is_to_fail(path);
    pthread_mutex_unlock(&order);
    int result = fails ? -1 : real(file);
    int error = fails ? EIO : errno;
    pthread_mutex_lock(&order);
    record(result == 0 ? 'D' : 'F', path, number, NULL, 0);
    pthread_mutex_unlock(&order);
    errno = error;
    return result;
}

int fsync(int file)
{
    return recorded_sync(file, REAL(fsync));
}

int fdatasync(int file)
{
    return recorded_sync(file, REAL(fdatasync));
}
