/* Takes from a process what it needs no more: files, memory without end, new processes, and every system call
 * but those of computing and of its one socket. For the process of policies, which runs what operators wrote.
 */
#pragma once

/* For good. Keeps `fd` open, and standard error under sanitizers, whose run-time needs more system calls and
 * memory: there only the files are closed. Ends the process where the kernel refuses. */
void jail_enter(int fd);
