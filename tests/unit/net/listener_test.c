/* What keeps a TLS listener from starting, and that ports open and say why they do not. */
#include "net/listener.h"
#include "net/tls.h"
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h> /* needs those above */

struct files {
    char folder[32], certificate[64], key[64], other_key[64];
};

static EVP_PKEY *write_key(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    chmod(path, 0600);
    return key;
}

static int set_up(void **state)
{
    struct files *files = calloc(1, sizeof(*files));
    strcpy(files->folder, "/tmp/tls_testXXXXXX");
    assert_non_null(mkdtemp(files->folder));
    snprintf(files->certificate, sizeof(files->certificate), "%s/cert.pem", files->folder);
    snprintf(files->key, sizeof(files->key), "%s/key.pem", files->folder);
    snprintf(files->other_key, sizeof(files->other_key), "%s/other.pem", files->folder);
    EVP_PKEY_free(write_key(files->other_key));
    EVP_PKEY *key = write_key(files->key);
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    assert_int_not_equal(X509_sign(certificate, key, EVP_sha256()), 0);
    FILE *file = fopen(files->certificate, "w");
    assert_non_null(file);
    PEM_write_X509(file, certificate);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
    *state = files;
    return 0;
}

static int tear_down(void **state)
{
    struct files *files = *state;
    unlink(files->certificate);
    unlink(files->key);
    unlink(files->other_key);
    rmdir(files->folder);
    free(files);
    return 0;
}

static void refused(const char *certificate, const char *key, const char *names)
{
    char *error = NULL;
    assert_null(tls_server(certificate, key, &error));
    assert_non_null(error);
    assert_non_null(strstr(error, names));
    free(error);
}

static void a_pair_that_fits_is_taken(void **state)
{
    struct files *files = *state;
    char *error = NULL;
    SSL_CTX *ctx = tls_server(files->certificate, files->key, &error);
    assert_non_null(ctx);
    assert_null(error);
    assert_int_equal(SSL_CTX_get_min_proto_version(ctx), TLS1_2_VERSION);
    SSL_CTX_free(ctx);
}

static void what_does_not_fit_is_refused(void **state)
{
    struct files *files = *state;
    refused("/nonexistent/cert.pem", files->key, "/nonexistent/cert.pem");
    refused(files->certificate, "/nonexistent/key.pem", "/nonexistent/key.pem");
    refused(files->certificate, files->other_key, files->other_key);
    refused(files->key, files->key, "certificate");
    refused(files->certificate, files->certificate, "key");
}

static void a_key_that_others_may_read_is_refused(void **state)
{
    struct files *files = *state;
    chmod(files->key, 0644);
    refused(files->certificate, files->key, "chmod");
    chmod(files->key, 0600);
}

static void ports_open_and_share(void **state)
{
    struct worker local = {.timers = timers_new(), .loop = h2o_evloop_create()}, *worker = &local;
    h2o_globalconf_t conf;
    h2o_context_t context;
    struct guard_budget budget = {.limit = 1 << 20};
    char *error = NULL;
    h2o_config_init(&conf);
    h2o_config_register_host(&conf, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_context_init(&context, worker->loop, &conf);
    struct guard *guard = guard_new(worker->timers, &context, &budget, 10);
    struct listener_config config = {.address = "127.0.0.1", .guard = guard};

    struct listener *first = listener_open(worker, &context, &config, &error);
    assert_non_null(first);
    config.port = listener_port(first);
    assert_int_not_equal(config.port, 0);
    assert_false(listener_port_free("127.0.0.1", config.port, &error)); /* another server must not join in */
    assert_non_null(strstr(error, "in use"));
    free(error);
    error = NULL;
    struct listener *second =
        listener_open(worker, &context, &config, &error); /* another worker's, as it were */
    assert_non_null(second);
    assert_int_equal(listener_port(second), config.port);

    config.address = "192.0.2.1"; /* nobody's (RFC 5737) */
    assert_null(listener_open(worker, &context, &config, &error));
    assert_non_null(strstr(error, "192.0.2.1"));
    free(error);
    listener_free(second);
    listener_close(first);
    listener_free(first);
    assert_true(listener_port_free("127.0.0.1", config.port, &error));
    assert_int_equal(guard_connections(guard), 0);
    guard_free(guard);
    h2o_context_dispose(&context);
    h2o_config_dispose(&conf);
    timers_free(local.timers);
}

static void the_guard_is_in_force(void **state)
{
    char *error = NULL;
    assert_true(guard_in_force(&error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_that_fits_is_taken),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(a_key_that_others_may_read_is_refused),
        cmocka_unit_test(ports_open_and_share),
        cmocka_unit_test(the_guard_is_in_force),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
