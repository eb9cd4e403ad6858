//go:build cgo

package token

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

// The head of CK_FUNCTION_LIST is a version; then come the functions in the
// order of the specification (PKCS #11 v2.40, section 5.4), named by place here.
struct functions {
	unsigned char major, minor;
	void *f[68];
};
enum { LOGIN = 18, SIGN = 43 };

static unsigned long login(void *p, unsigned long session, unsigned long user, unsigned char *pin, unsigned long size)
{
	unsigned long (*f)(unsigned long, unsigned long, unsigned char *, unsigned long) = ((struct functions *)p)->f[LOGIN];
	return f(session, user, pin, size);
}

static unsigned long sign(void *p, unsigned long session, unsigned char *data, unsigned long size, unsigned char *signature, unsigned long *length)
{
	unsigned long (*f)(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *) = ((struct functions *)p)->f[SIGN];
	return f(session, data, size, signature, length);
}

// load_error returns why a module can't be loaded, or NULL. dlerror is the
// thread's own, so both calls have to be one to Go.
static const char *load_error(const char *path)
{
	void *handle = dlopen(path, RTLD_LAZY);
	if (!handle)
		return dlerror();
	return dlsym(handle, "C_GetFunctionList") ? NULL : "it has no C_GetFunctionList, so it is not a PKCS#11 module";
}
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// maxSignature is the longest signature in bytes: RSA with 16384 bits.
const maxSignature = 2048

// module is a loaded and initialized PKCS#11 library.
type module struct {
	*pkcs11.Ctx
	path      string
	functions unsafe.Pointer
	users     int
	foreign   bool // initialized by another part of the process, which will finalize it
}

// loaded holds the modules that this process has loaded. C_Initialize and
// C_Finalize work on the whole process, so their count can't belong to a key.
var loaded struct {
	sync.Mutex
	modules map[string]*module
}

// openModule loads the module that the URI or the environment names, or the
// distribution's p11-kit-proxy.so. The caller releases it.
func openModule(u uri) (*module, error) {
	path, from := modulePath(u)
	loaded.Lock()
	defer loaded.Unlock()
	name := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		name = real
	}
	m := loaded.modules[name]
	if m == nil {
		var err error
		if m, err = load(path, from); err != nil {
			return nil, err
		}
		if loaded.modules == nil {
			loaded.modules = map[string]*module{}
		}
		loaded.modules[name] = m
	}
	if m.users == 0 {
		err := m.Initialize()
		m.foreign = isCKR(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)
		if err != nil && !m.foreign {
			return nil, fmt.Errorf("PKCS#11 module %s (%s): C_Initialize: %w", path, from, err)
		}
	}
	m.users++
	return m, nil
}

// release finalizes a module after its last user. It stays mapped: modules with
// threads of their own don't survive dlclose.
func (m *module) release() {
	loaded.Lock()
	defer loaded.Unlock()
	if m.users--; m.users == 0 && !m.foreign {
		m.Finalize()
	}
}

// modulePath returns the module's path and who named it. The variables are those
// of OpenSSL's PKCS#11 provider and engine.
func modulePath(u uri) (path, from string) {
	if path := u["module-path"]; path != "" {
		return path, "module-path in the URI"
	}
	for _, name := range []string{"PKCS11_PROVIDER_MODULE", "PKCS11_MODULE_PATH"} {
		if path := os.Getenv(name); path != "" {
			return path, name
		}
	}
	// A name without a slash is searched for in the library directories, and so
	// in those of the distribution's multiarch scheme.
	return "p11-kit-proxy.so", ""
}

func load(path, from string) (*module, error) {
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	if why := C.load_error(cPath); why != nil {
		if from == "" {
			return nil, fmt.Errorf("no PKCS#11 module: install p11-kit, or name a module in PKCS11_PROVIDER_MODULE or in the URI's module-path (tried %s)", C.GoString(why))
		}
		return nil, fmt.Errorf("PKCS#11 module %s (%s) cannot be loaded: %s", path, from, C.GoString(why))
	}
	ctx := pkcs11.New(path)
	if ctx == nil {
		return nil, fmt.Errorf("PKCS#11 module %s cannot be loaded", path)
	}
	m := &module{Ctx: ctx, path: path, functions: functionList(ctx)}
	if m.functions == nil {
		return nil, fmt.Errorf("PKCS#11 module %s: C_GetFunctionList failed", path)
	}
	return m, nil
}

// functionList returns the table that ctx calls through: the second word of the
// C structure that it points to. A table of our own will not do, because
// p11-kit-proxy.so gives each caller of C_GetFunctionList sessions of its own.
func functionList(ctx *pkcs11.Ctx) unsafe.Pointer {
	c := *(**struct{ handle, functions unsafe.Pointer })(unsafe.Pointer(ctx))
	return c.functions
}

// login is C_Login with a PIN that is copied nowhere: miekg/pkcs11 takes a
// string, which can't be wiped, and copies it. A nil PIN is typed at the token.
func (m *module) login(session pkcs11.SessionHandle, user uint, pin []byte) error {
	if pin != nil && len(pin) == 0 {
		pin = make([]byte, 0, 1) // the empty PIN is not a null pointer
	}
	return toError(C.login(m.functions, C.ulong(session), C.ulong(user), (*C.uchar)(unsafe.SliceData(pin)), C.ulong(len(pin))))
}

// sign is one C_Sign: that of miekg/pkcs11 asks for the length first, which is a
// second signature on tokens that take no notice of the missing buffer.
func (m *module) sign(session pkcs11.SessionHandle, data []byte) ([]byte, error) {
	signature := make([]byte, maxSignature)
	size := C.ulong(len(signature))
	err := toError(C.sign(m.functions, C.ulong(session), (*C.uchar)(unsafe.SliceData(data)), C.ulong(len(data)),
		(*C.uchar)(unsafe.SliceData(signature)), &size))
	if err != nil {
		return nil, err
	}
	if size > maxSignature {
		return nil, fmt.Errorf("C_Sign returned %d bytes", size)
	}
	return signature[:size], nil
}

func toError(rv C.ulong) error {
	if rv == pkcs11.CKR_OK {
		return nil
	}
	return pkcs11.Error(rv)
}

// isCKR reports whether err is one of the return values.
func isCKR(err error, values ...pkcs11.Error) bool {
	var rv pkcs11.Error
	if !errors.As(err, &rv) {
		return false
	}
	for _, v := range values {
		if rv == v {
			return true
		}
	}
	return false
}
