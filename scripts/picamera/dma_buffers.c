/* For LD_PRELOAD, on kernels without udmabuf and DMA heaps: a memfd replaces each buffer that libcamera and picamera2
 * share. A memfd can be mapped like a dma-buf. Only the processor reads it, so there is nothing to sync.
 * Interfaces: linux/udmabuf.h, linux/dma-heap.h, linux/dma-buf.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_heap(const char *path)
{
	return path && (!strcmp(path, "/dev/udmabuf") || !strncmp(path, "/dev/dma_heap/", strlen("/dev/dma_heap/")));
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
	if (is_heap(path))
		return memfd_create("heap", MFD_CLOEXEC);
	return syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE_AFTER(last) \
	mode_t mode = 0; \
	if (flags & (O_CREAT | __O_TMPFILE)) { \
		va_list more; \
		va_start(more, last); \
		mode = va_arg(more, mode_t); \
		va_end(more); \
	}

int open(const char *path, int flags, ...) { MODE_AFTER(flags) return open_at(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE_AFTER(flags) return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE_AFTER(flags) return open_at(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE_AFTER(flags) return open_at(folder, path, flags | O_LARGEFILE, mode); }

static int allocate(struct dma_heap_allocation_data *wanted)
{
	int buffer = memfd_create("dma-buf", MFD_CLOEXEC);

	if (buffer < 0)
		return -1;
	if (ftruncate(buffer, wanted->len)) {
		int reason = errno;
		close(buffer);
		errno = reason;
		return -1;
	}
	wanted->fd = buffer;
	return 0;
}

int ioctl(int device, unsigned long request, ...)
{
	va_list more;
	va_start(more, request);
	void *argument = va_arg(more, void *);
	va_end(more);

	switch (request) {
	case UDMABUF_CREATE: /* a copy of the memfd that it would wrap */
		return fcntl(((struct udmabuf_create *)argument)->memfd, F_DUPFD_CLOEXEC, 0);
	case DMA_HEAP_IOCTL_ALLOC:
		return allocate(argument);
	case DMA_BUF_IOCTL_SYNC:
	case DMA_BUF_SET_NAME_A:
	case DMA_BUF_SET_NAME_B:
		return 0;
	}
	return syscall(SYS_ioctl, device, request, argument);
}
