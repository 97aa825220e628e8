/* SPDX-License-Identifier: MIT */
/*
 * os.h - the one door to the operating system
 *
 * Every system call the library makes goes through the table hf__os points to, so that tests can
 * fail the k-th call, cut the power between two, or record all of them. The entries have the
 * meaning, result and errno of the call they are named after, with these additions:
 *
 *   rename_new   renameat2 with RENAME_NOREPLACE; EEXIST if the target is there
 *   copy_xattrs  all extended attributes (access control lists are some) of one file to another, as far
 *                as the file systems and the process's rights let it; -1 for want of room or a broken disk
 *   clone        ioctl FICLONE: fd, empty, becomes a copy of from_fd that shares its blocks; atomic beside
 *                writers. EOPNOTSUPP, EXDEV, EINVAL or ENOTTY where the file system can't
 *   copy_range   copy_file_range with both offsets given; short is no failure, 0 is the end of from_fd
 *                or, from some file systems, that it can't
 *   seek         lseek with SEEK_DATA or SEEK_HOLE; ENXIO: no data behind. It moves the descriptor's
 *                offset, which nobody uses
 *   each_name    opendir and readdir: visits each name in the directory
 *   lock         one F_OFD_SETLK: type F_RDLCK, F_WRLCK or F_UNLCK on [start, start + length)
 *   lock_test    one F_OFD_GETLK: 1 if another open file description stands in the way, 0, or -1
 *   write_back   one sync_file_range with SYNC_FILE_RANGE_WRITE alone: the kernel begins to write what
 *                is dirty there, and is not waited for. Nothing is durable by it
 *   futex_wait   waits while *word == expected, at most timeout_ns (never for ever: whoever waits
 *                looks up now and then whether the one he waits for still lives)
 *   now_ns       CLOCK_MONOTONIC; wall_ns CLOCK_REALTIME_COARSE
 *   pwrite_apart pwrite, a page at a time: what one call writes may lie in one folio of the page
 *                cache, and a folio is written back by one caller of fdatasync at a time
 *   store        memcpy into a shared, writable mapping of the data file (the log engine's applying;
 *                what a program writes through a mapping itself passes nobody)
 *   store_past   the same for whole lines of 64 bytes, past the caches where the processor can: for many
 *                that nobody is about to read. hf__store_fence orders them before what is stored after it
 *
 * The helpers below add what every caller wants: retries on EINTR, short reads and writes carried
 * on, space really allocated on file systems without fallocate.
 */
#ifndef HF_BASE_OS_H
#define HF_BASE_OS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct hf__os {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pread)(int fd, void *buffer, size_t size_bytes, off_t offset);
    ssize_t (*pwrite)(int fd, const void *buffer, size_t size_bytes, off_t offset);
    ssize_t (*read)(int fd, void *buffer, size_t size_bytes);
    ssize_t (*write)(int fd, const void *buffer, size_t size_bytes);
    ssize_t (*pwrite_apart)(int fd, const void *buffer, size_t size_bytes, off_t offset);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*write_back)(int fd, off_t offset, off_t size_bytes);
    int (*ftruncate)(int fd, off_t size_bytes);
    int (*fallocate)(int fd, int mode, off_t offset, off_t size_bytes);
    int (*fstat)(int fd, struct stat *out);
    int (*stat)(const char *path, struct stat *out);
    int (*fs_type)(int fd, uint64_t *out_magic);
    int (*fchmod)(int fd, mode_t mode);
    int (*fchown)(int fd, uid_t user, gid_t group);
    int (*rename_new)(const char *from, const char *to);
    int (*rename)(const char *from, const char *to);
    int (*copy_xattrs)(int from, int to);
    int (*clone)(int fd, int from_fd);
    ssize_t (*copy_range)(int from_fd, off_t from, int fd, off_t to, size_t size_bytes);
    off_t (*seek)(int fd, off_t offset, int whence);
    int (*unlink)(const char *path);
    int (*each_name)(const char *directory, void (*visit)(void *context, const char *name),
                     void *context);
    void *(*mmap)(void *address, size_t size_bytes, int protection, int flags, int fd,
                  off_t offset);
    int (*munmap)(void *address, size_t size_bytes);
    int (*mprotect)(void *address, size_t size_bytes, int protection);
    int (*madvise)(void *address, size_t size_bytes, int advice);
    int (*lock)(int fd, int type, off_t start, off_t length);
    int (*lock_test)(int fd, int type, off_t start, off_t length);
    int (*futex_wait)(uint32_t *word, uint32_t expected, int64_t timeout_ns);
    int (*futex_wake)(uint32_t *word, int count);
    uint64_t (*now_ns)(void);
    uint64_t (*wall_ns)(void);
    void (*store)(void *to, const void *from, size_t size_bytes);
    void (*store_past)(void *to, const void *from, size_t size_bytes);
};

/* A descriptor that a fork handler closed: it was one (so >= 0 no more, and not -1: "none"). */
#define HF__CLOSED_FD (-2)
/* Closes one for a fork handler, past the seam: its locks of the parent's mean nothing here. */
void hf__drop_fd(int *fd);

extern const struct hf__os hf__os_system; /* the real calls                                      */
extern const struct hf__os *hf__os;       /* what the library uses; tests set it before any open  */

/* All of size_bytes, or -1 and errno; a read that meets the end of file returns what there was. */
ssize_t hf__read_at(int fd, void *buffer, size_t size_bytes, uint64_t offset);
int hf__write_at(int fd, const void *buffer, size_t size_bytes, uint64_t offset);
/* The same from and to where fd stands: archives, which may be pipes. */
ssize_t hf__read_next(int fd, void *buffer, size_t size_bytes);
int hf__write_next(int fd, const void *buffer, size_t size_bytes);
int hf__write_apart_at(int fd, const void *buffer, size_t size_bytes, uint64_t offset);
/* Disk blocks for [offset, offset + size_bytes), the file made long enough; content kept. Where the
 * file system has no fallocate, the part beyond the end is written with zeros. 0 or -1 and
 * errno. */
int hf__allocate_at(int fd, uint64_t offset, uint64_t size_bytes);
/* The next data of [at, end) in a file: [*from, *to), empty at its end. Where the file system doesn't tell,
 * all of it is data. 0 or -1 and errno. */
int hf__next_data(int fd, uint64_t at, uint64_t end, uint64_t *from, uint64_t *to);
/* After store_past, before anybody is told of it. */
void hf__store_fence(void);
/* Asks for a mapped part of a file that will be read soon. A hint: nothing is told, and nobody waits. */
void hf__will_need(void *mapping, uint64_t size_bytes);
/* pthread_create of a thread of the library's own: the program's signals are none of its business. */
int hf__thread_start(pthread_t *thread, void *(*run)(void *), void *argument);
/* Opens the directory that path lies in: before a name changes there, so that no lack of descriptors or
 * permissions can fail what has happened already. A descriptor for hf__sync_directory, or -1 and errno. */
int hf__directory_of(const char *path);
/* Syncs and closes it. 0 or -1 and errno. */
int hf__sync_directory(int fd);
/* Both. */
int hf__sync_directory_of(const char *path);
/* 16 random bytes. Cannot fail: falls back to clocks and addresses where the kernel has none. */
void hf__random_bytes(void *out, size_t size_bytes);
/* The kernel's boot id; zeros where there is none. 0, or -1 and errno: it can't be read now. */
int hf__boot_id(uint8_t out[16]);

#endif
