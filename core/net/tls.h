/* TLS of the server side: one SSL_CTX from PEM files, shared by all workers (OpenSSL locks what it must).
 * TLS 1.2 and 1.3, forward secrecy and AEAD only, session tickets, HTTP/2 and HTTP/1.1 by ALPN. */
#pragma once
#include <openssl/ssl.h>

/* NULL and *error (owned by the caller): a file is missing, does not fit, or the key is readable by others.
 * The caller frees it with SSL_CTX_free(). */
SSL_CTX *tls_server(const char *certificate, const char *key, char **error)
    __attribute__((warn_unused_result));
