/* Where all devices connect to: looked up once, with one TLS context. */
#include "fleet_link.h"
#include <netdb.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool trust(SSL_CTX *tls, const char *ca)
{
    if (!ca) {
        return SSL_CTX_set_default_verify_paths(tls) == 1;
    }
    BIO *text = BIO_new_mem_buf(ca, -1);
    bool any = false;
    for (X509 *certificate; text && (certificate = PEM_read_bio_X509(text, NULL, NULL, NULL));) {
        any = X509_STORE_add_cert(SSL_CTX_get_cert_store(tls), certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(text);
    return any;
}

static SSL_CTX *make_tls(const char *ca)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls || !trust(tls, ca)) {
        SSL_CTX_free(tls);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    return tls;
}

struct fleet_broker *fleet_broker_new(const char *host, int port, bool tls, const char *ca,
                                      const char **error)
{
    struct fleet_broker *broker = calloc(1, sizeof *broker);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_INET}, *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    *error = NULL;
    if (!broker) {
        abort();
    }
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        *error = "the broker's host is not known";
    } else if (tls && !(broker->tls = make_tls(ca))) {
        *error = "no certificate to check the broker against";
    }
    if (*error) {
        fleet_broker_free(broker);
        broker = NULL;
    } else {
        memcpy(&broker->address, found->ai_addr, found->ai_addrlen);
        broker->address_len = found->ai_addrlen;
        broker->host = host;
        broker->keep_alive = 60;
    }
    if (found) {
        freeaddrinfo(found);
    }
    return broker;
}

void fleet_broker_free(struct fleet_broker *broker)
{
    if (broker) {
        SSL_CTX_free(broker->tls);
    }
    free(broker);
}
