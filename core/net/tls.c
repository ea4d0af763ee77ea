#include "net/tls.h"
#include "base/mem.h"
#include <errno.h>
#include <h2o.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/stat.h>

/* In our order of preference; h2o/http2.h's own list has drafts in it. */
static const h2o_iovec_t protocols[] = {{H2O_STRLIT("h2")}, {H2O_STRLIT("http/1.1")}, {NULL, 0}};

static char *reason(const char *what, const char *file)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    char *text = x_printf("%s %s: %s", what, file, why != NULL ? why : "not usable");
    ERR_clear_error();
    return text;
}

SSL_CTX *tls_server(const char *certificate, const char *key, char **error)
{
    struct stat status;
    if (stat(key, &status) != 0) {
        *error = x_printf("key %s: %s", key, strerror(errno));
        return NULL;
    }
    if ((status.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        *error = x_printf("key %s: others may read it (chmod 600)", key);
        return NULL;
    }
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL) {
        *error = reason("TLS", "");
        return NULL;
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, certificate) != 1) {
        *error = reason("certificate", certificate);
        goto free_ctx;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1) {
        *error = reason("key", key);
        goto free_ctx;
    }
    if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1 ||
        SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"otad", 4) != 1) {
        *error = reason("TLS settings", "");
        goto free_ctx;
    }
    /* Devices fetch an image in hundreds of connections: resumption spares each a signature. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_sess_set_cache_size(ctx, 4096);
    SSL_CTX_set_timeout(ctx, 3600);
    h2o_ssl_register_alpn_protocols(ctx, protocols);
    return ctx;

free_ctx:
    SSL_CTX_free(ctx);
    return NULL;
}
