/* SPDX-License-Identifier: MIT */
/*
 * exit.c - from the library's many codes to the command's few
 *
 * A script wants to know what to do next: try later (busy), make room (no space), run fsck
 * (damaged), look at the path it gave (open). The mapping groups the codes by that.
 */
#include "tools/common/exit.h"

#include "holdfast/holdfast.h"

#include <errno.h>

int tool_exit_of(int hf_code)
{
    switch (hf_code) {
    case HF_OK:
        return TOOL_OK;
    case HF_ENOTFOUND:
        return TOOL_ABSENT;
    case HF_EINVAL:
    case HF_ENAME:
        return TOOL_USAGE;
    case HF_ENOENT:
    case HF_EACCES:
    case HF_EREADONLY:
    case HF_EMISMATCH:
    case HF_ELAYOUT:
    case HF_ENOTSTORE:
    case HF_ENEWER:
    case HF_EENDIAN:
    case HF_EPAGESIZE:
    case HF_ENETFS:
    case HF_EOTHERPATH:
    case HF_EARCHIVE:
        return TOOL_OPEN;
    case HF_ETRUNCATED:
    case HF_ECORRUPT:
    case HF_ETORN:
    case HF_ESIDECAR:
    case HF_ELOGMISSING:
    case HF_ELOGFOREIGN:
        return TOOL_DAMAGED;
    case HF_EBUSY:
    case HF_EALREADYOPEN:
    case HF_EREADERS:
    case HF_EPROCESSES:
    case HF_ELOGFULL:
        return TOOL_BUSY;
    case HF_ENOSPC:
    case HF_EFULL:
        return TOOL_NOSPACE;
    case HF_EIO:
    case HF_ECOMMIT_UNKNOWN:
        return TOOL_IO;
    case HF_EEXIST:
        return TOOL_EXISTS;
    case HF_ECANCELLED:
        return TOOL_CANCELLED;
    default:
        return TOOL_OTHER;
    }
}

int tool_exit_of_errno(int os_errno)
{
    switch (os_errno) {
    case 0:
        return TOOL_OK;
    case ENOENT:
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case ENXIO:
        return TOOL_OPEN;
    case ENOSPC:
    case EDQUOT:
        return TOOL_NOSPACE;
    case EEXIST:
        return TOOL_EXISTS;
    case ENOMEM:
        return TOOL_OTHER;
    default:
        return TOOL_IO;
    }
}
