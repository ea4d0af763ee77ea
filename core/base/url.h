/* Account and password in the URLs of services: scheme://[user[:password]@]host... (RFC 3986, with
 * %-escapes). A password may hold @ and : as they are. */
#pragma once

/* The URL without them, owned by the caller, as are *user and *password: NULL where there is none. NULL and
 * nothing set: a % that begins no escape, or the escape of a NUL. */
char *url_split(const char *url, char **user, char **password);
