/* SPDX-License-Identifier: MIT */
/* publish.h - a new file gets its name when it is whole, and keeps it over a power cut */
#ifndef HF_TOOLS_COMMON_PUBLISH_H
#define HF_TOOLS_COMMON_PUBLISH_H

/* Gives the file `from` the name `to`, never over one that is there: 0 or an errno (EEXIST). */
int publish_name(const char *from, const char *to);

/* Syncs the directory that path lies in: 0 or an errno. */
int publish_sync(const char *path);

#endif
