package token

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		in   string
		want uri
	}{
		{"pkcs11:", uri{}},
		{"pkcs11:token=vault;object=modsign", uri{"token": "vault", "object": "modsign"}},
		{"pkcs11:object=a?pin-value=1234", uri{"object": "a", "pin-value": "1234"}},
		{"pkcs11:object=a;pin-value=1234", uri{"object": "a", "pin-value": "1234"}},
		{"pkcs11:object=a?pin-source=file:/run/pin&module-path=/l.so", uri{"object": "a", "pin-source": "file:/run/pin", "module-path": "/l.so"}},
		{"pkcs11:?module-path=/l.so&pin-value=x", uri{"module-path": "/l.so", "pin-value": "x"}},
		{"pkcs11:id=%01%FF%00;object=two%20words", uri{"id": "\x01\xff\x00", "object": "two words"}},
		{"pkcs11:object=a+b", uri{"object": "a+b"}},
		{"pkcs11:object=k%3Bl%3Fm%26n%25o", uri{"object": "k;l?m&n%o"}},
		{"pkcs11:object-type=private;object=%25%36%31", uri{"type": "private", "object": "%61"}},
		{"pkcs11:object=", uri{"object": ""}},
		{"pkcs11:object=a=b", uri{"object": "a=b"}},
		{"pkcs11:;;token=a;", uri{"token": "a"}},
		{"pkcs11:token=A;x-vendor=%zz;Token=b;library-version=2.1", uri{"token": "A"}},
		{"pkcs11:model=m;manufacturer=n;serial=0;slot-id=3;type=private",
			uri{"model": "m", "manufacturer": "n", "serial": "0", "slot-id": "3", "type": "private"}},
	} {
		got, err := parseURI(c.in)
		if err != nil || !maps.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func TestParseURIErrors(t *testing.T) {
	for in, want := range map[string]string{
		"PKCS11:token=a":                       "not a pkcs11: URI",
		"pkcs11:token":                         "has no \"=\"",
		"pkcs11:object=a?pin-value=sec&ret":    "has no \"=\"",
		"pkcs11:token=a;token=b":               "token is in the URI twice",
		"pkcs11:type=cert;object-type=cert":    "type is in the URI twice",
		"pkcs11:pin-value=sec;pin-value=ret":   "pin-value is in the URI twice",
		"pkcs11:module-path=/l.so%00x":         "module-path in the URI: has a zero byte",
		"pkcs11:module-path=/l.so\x00x":        "module-path in the URI: has a zero byte",
		"pkcs11:token=a%00":                    "token in the URI: has a zero byte",
		"pkcs11:pin-value=sec%00ret":           "pin-value in the URI: has a zero byte",
		"pkcs11:pin-source=%00|ret":            "pin-source in the URI: has a zero byte",
		"pkcs11:object=%u0041":                 "object in the URI: bad percent-encoding",
		"pkcs11:id=%":                          "id in the URI: bad percent-encoding",
		"pkcs11:\n":                            "has no \"=\"",
		"pkcs11:token=%4":                      "token in the URI: bad percent-encoding",
		"pkcs11:object=a?pin-value=100%secret": "pin-value in the URI: bad percent-encoding",
	} {
		u, err := parseURI(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", in, u, err, want)
			continue
		}
		if strings.Contains(err.Error(), "ret") || strings.Contains(Show(in), "ret") {
			t.Errorf("%s: the PIN shows in %q, %q", in, err, Show(in))
		}
	}
}

func TestShow(t *testing.T) {
	for in, want := range map[string]string{
		"pkcs11:token=a;pin-value=1234;object=b":             "pkcs11:token=a;object=b",
		"pkcs11:object=b%3B?pin-value=12&module-path=/l/m":   "pkcs11:object=b%3B;module-path=/l/m",
		"pkcs11:object=b?pin-value=12&34":                    "pkcs11:...",
		"pkcs11:object=b?pin-value=12&x=34":                  "pkcs11:object=b",
		"pkcs11:object=b?Pin-Value=1234":                     "pkcs11:object=b",
		"pkcs11:object=b?pin%2dvalue=1234":                   "pkcs11:object=b",
		"pkcs11:token=a pin-value=1234":                      "pkcs11:...",
		"pkcs11:token=a,PIN-VALUE=1234":                      "pkcs11:...",
		"pkcs11:token=a%20pin%2Dvalue=1234":                  "pkcs11:...",
		"pkcs11:object=b?pin-source=file:/run/pin":           "pkcs11:object=b;pin-source=file:/run/pin",
		"pkcs11:object=b?pin-source=1234":                    "pkcs11:object=b;pin-source=...",
		"pkcs11:object=b?pin-source=|echo%201234%20>/dev/fd": "pkcs11:object=b;pin-source=...",
		"pkcs11:id=%00%ff":                                   "pkcs11:id=%00%FF",
		"no URI":                                             "pkcs11:...",
	} {
		if got := Show(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestURIPIN(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pin")
	long := strings.Repeat("x", MaxPINSize)
	for _, c := range []struct{ uri, content, want, err string }{
		{"pkcs11:object=a", "", "", ""},
		{"pkcs11:pin-value=", "", "", ""},
		{"pkcs11:pin-value=1%2034", "", "1 34", ""},
		{"pkcs11:pin-source=file:" + file, "1234\n", "1234", ""},
		{"pkcs11:pin-source=file://" + file, "1234", "1234", ""},
		{"pkcs11:pin-source=file://localhost" + file, "1234\r\n", "1234", ""},
		{"pkcs11:pin-source=" + file, " 12 34 \n", " 12 34 ", ""},
		{"pkcs11:pin-source=" + file, "", "", ""},
		{"pkcs11:pin-source=" + file, long + "\r\n", long, ""},
		{"pkcs11:pin-source=" + file, long + "x\r\n", "", "longer than 1023"},
		{"pkcs11:pin-value=" + long + "x", "", "", "longer than 1023"},
		{"pkcs11:pin-source=file:" + file + ".not", "", "", "no such file"},
		{"pkcs11:pin-source=|cat " + file, "1234", "", "a command is not run"},
		{"pkcs11:pin-source=file:|cat", "1234", "", "a command is not run"},
		{"pkcs11:pin-source=1234", "", "", "the file that it names: no such file"}, // and not which
		{"pkcs11:pin-source=" + file + ";pin-value=1234", "1234", "", "both pin-value and pin-source"},
	} {
		if err := os.WriteFile(file, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := parseURI(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		pin, err := u.pin()
		if c.err == "" && (err != nil || string(pin) != c.want) {
			t.Errorf("%.60s: %q, %v", c.uri, pin, err)
		}
		if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "1234")) {
			t.Errorf("%.60s: %v, want %q", c.uri, err, c.err)
		}
		if given := u["pin-value"] != "" || u["pin-source"] != ""; given && err == nil && pin == nil {
			t.Errorf("%.60s: an empty PIN is a PIN", c.uri)
		}
	}
	if _, err := pinFile(file + ".not"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// FuzzParseURI holds what is parsed against what it is written back as.
func FuzzParseURI(f *testing.F) {
	for _, s := range []string{
		"pkcs11:", "pkcs11:token=a;object=b?pin-value=c", "pkcs11:id=%01%ff", "pkcs11:token=a;token=a",
		"pkcs11:object=%", "pkcs11:?&;=", "pkcs11:module-path=/l%20.so&pin-source=file:/f",
		"pkcs11:object-type=cert;id=%00", "pkcs11:token=%00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		shown := Show(in)
		u, err := parseURI(in)
		if err != nil {
			return
		}
		secret, ok := u["pin-value"]
		delete(u, "pin-value")
		if source, ok := u["pin-source"]; ok && !isPath(source) {
			u["pin-source"] = "..."
		}
		again, err := parseURI(u.String())
		if err != nil || !maps.Equal(again, u) {
			t.Fatalf("%q: %q and %q, %v", in, u, again, err)
		}
		if shown != u.String() || ok && strings.Contains(shown, "pin-value="+secret) {
			t.Fatalf("%q is shown as %q", in, shown)
		}
	})
}
