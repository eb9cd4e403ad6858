/*
 * A PKCS#11 module for what SoftHSM can't do: one token with one RSA key, whose
 * behaviour the environment sets and whose calls it records.
 *
 * STANDIN_SIGNATURE  file with the signature, 256 bytes, that C_Sign returns
 * STANDIN_LOG        file that gets a line for each call
 * STANDIN_MODE       always-authenticate, drop (all sessions, after a signature), fail (at
 *                    the second), lie (from the second on), slow (20 ms a signature),
 *                    drop-many (slow, and all sessions after 40), two-keys (found one at
 *                    a call), or empty
 */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long ulong_t;
typedef unsigned char byte;
struct attribute { ulong_t type; void *value; ulong_t length; };

enum { OK = 0, FUNCTION_FAILED = 6, ATTRIBUTE_TYPE_INVALID = 0x12, PIN_INCORRECT = 0xa0, SESSION_HANDLE_INVALID = 0xb3,
       USER_NOT_LOGGED_IN = 0x101, USER_ALREADY_LOGGED_IN = 0x100 };
enum { CLASS = 0, LABEL = 3, KEY_TYPE = 0x100, ID = 0x102, ALWAYS_AUTHENTICATE = 0x202 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int logged_in, sessions, signatures, context_login[64], searched[64], has_signed[64], signers;
static ulong_t dropped; /* the last session that is gone */

static int mode(const char *m)
{
	const char *set = getenv("STANDIN_MODE");
	return set && !strcmp(set, m);
}

static void record(const char *call)
{
	const char *path = getenv("STANDIN_LOG");
	FILE *f = path ? fopen(path, "a") : NULL;
	if (f) {
		fprintf(f, "%s\n", call);
		fclose(f);
	}
}

static ulong_t initialize(void *args) { record("C_Initialize"); return OK; }
static ulong_t finalize(void *reserved) { record("C_Finalize"); return OK; }

static ulong_t get_slot_list(byte present, ulong_t *slots, ulong_t *count)
{
	if (slots)
		slots[0] = 7;
	*count = 1;
	return OK;
}

static void pad(char *to, const char *text, size_t size)
{
	memset(to, ' ', size);
	memcpy(to, text, strlen(text));
}

struct token_info {
	char label[32], manufacturer[32], model[16], serial[16];
	ulong_t flags, max_session, session, max_rw, rw, max_pin, min_pin, numbers[4];
	char hardware[2], firmware[2], time[16];
};

static ulong_t get_token_info(ulong_t slot, struct token_info *i)
{
	memset(i, 0, sizeof(*i));
	pad(i->label, "standin", 32);
	pad(i->manufacturer, "nobody", 32);
	pad(i->model, "none", 16);
	pad(i->serial, "1", 16);
	i->flags = 0x4 | 0x8 | 0x400; /* LOGIN_REQUIRED, USER_PIN_INITIALIZED, TOKEN_INITIALIZED */
	i->max_session = 16;
	return OK;
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *app, void *notify, ulong_t *session)
{
	pthread_mutex_lock(&lock);
	*session = ++sessions;
	pthread_mutex_unlock(&lock);
	record("C_OpenSession");
	return OK;
}

static ulong_t close_session(ulong_t session) { return OK; }

struct session_info { ulong_t slot, state, flags, error; };

static ulong_t get_session_info(ulong_t session, struct session_info *i)
{
	i->slot = 7;
	i->state = logged_in ? 1 : 0;
	i->flags = 4;
	return OK;
}

static ulong_t login(ulong_t session, ulong_t user, byte *pin, ulong_t length)
{
	record(user == 2 ? "C_Login context" : "C_Login");
	if (length != 4 || memcmp(pin, "1234", 4))
		return PIN_INCORRECT;
	if (user == 2) {
		context_login[session % 64] = 1;
		return OK;
	}
	if (logged_in)
		return USER_ALREADY_LOGGED_IN;
	logged_in = 1;
	return OK;
}

static ulong_t find_init(ulong_t session, struct attribute *template, ulong_t count)
{
	searched[session % 64] = 0;
	for (ulong_t i = 0; i < count; i++)
		if (template[i].type == CLASS && *(ulong_t *)template[i].value == 3) /* CKO_PRIVATE_KEY alone */
			searched[session % 64] = logged_in * (mode("two-keys") ? 2 : 1);
	return OK;
}

static ulong_t find(ulong_t session, ulong_t *objects, ulong_t most, ulong_t *count)
{
	*count = searched[session % 64] > 0;
	if (*count)
		objects[0] = 41 + searched[session % 64]--;
	return OK;
}

static ulong_t find_final(ulong_t session) { return OK; }

static ulong_t give(struct attribute *a, const void *value, ulong_t length)
{
	if (a->value)
		memcpy(a->value, value, length);
	a->length = length;
	return OK;
}

static ulong_t get_attribute_value(ulong_t session, ulong_t object, struct attribute *a, ulong_t count)
{
	ulong_t rsa = 0;
	byte always = mode("always-authenticate");
	switch (a->type) {
	case KEY_TYPE:
		return give(a, &rsa, sizeof(rsa));
	case ALWAYS_AUTHENTICATE:
		return give(a, &always, 1);
	case LABEL:
		return give(a, "key", 3);
	case ID:
		return give(a, "\001", 1);
	}
	a->length = -1;
	return ATTRIBUTE_TYPE_INVALID;
}

static ulong_t sign_init(ulong_t session, void *mechanism, ulong_t key)
{
	record("C_SignInit");
	pthread_mutex_lock(&lock);
	/* Not while a session is being set up: that one would fail, and rightly. */
	if (!dropped && signers == sessions && signatures >= (mode("drop") ? 1 : mode("drop-many") ? 40 : INT_MAX)) {
		dropped = sessions;
		logged_in = 0;
	}
	int gone = session <= dropped;
	signers += !has_signed[session % 64];
	has_signed[session % 64] = 1;
	pthread_mutex_unlock(&lock);
	if (gone)
		return SESSION_HANDLE_INVALID;
	context_login[session % 64] = 0;
	return logged_in ? OK : USER_NOT_LOGGED_IN;
}

/* The key signs one thing only: what it has the signature of. */
static int replay(byte *signature)
{
	FILE *f = fopen(getenv("STANDIN_SIGNATURE"), "r");
	size_t n = f ? fread(signature, 1, 256, f) : 0;
	if (f)
		fclose(f);
	return n == 256;
}

static ulong_t sign(ulong_t session, byte *data, ulong_t length, byte *signature, ulong_t *size)
{
	record("C_Sign");
	if (mode("always-authenticate") && !context_login[session % 64])
		return USER_NOT_LOGGED_IN;
	pthread_mutex_lock(&lock);
	int n = ++signatures;
	pthread_mutex_unlock(&lock);
	if (mode("fail") && n == 2)
		return FUNCTION_FAILED;
	*size = 256;
	if (mode("slow") || mode("drop-many"))
		usleep(20000);
	if (!replay(signature))
		return FUNCTION_FAILED;
	if (mode("lie") && n >= 2)
		signature[100] ^= 1;
	return OK;
}

static ulong_t unsupported(void) { return 0x54; }

static struct { byte major, minor; void *f[68]; } functions = { 2, 40 };

ulong_t C_GetFunctionList(void *list)
{
	for (int i = 0; i < 68; i++)
		functions.f[i] = unsupported;
	functions.f[0] = initialize;
	functions.f[1] = finalize;
	functions.f[3] = C_GetFunctionList;
	functions.f[4] = get_slot_list;
	functions.f[6] = get_token_info;
	functions.f[12] = open_session;
	functions.f[13] = close_session;
	functions.f[15] = get_session_info;
	functions.f[18] = login;
	functions.f[24] = get_attribute_value;
	functions.f[26] = find_init;
	functions.f[27] = find;
	functions.f[28] = find_final;
	functions.f[42] = sign_init;
	functions.f[43] = sign;
	*(void **)list = &functions;
	return OK;
}
