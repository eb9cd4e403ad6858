package kernel_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"sign-file/certificate"
	"sign-file/kernel"
	"sign-file/kernel/trust"
	modsig "sign-file/module_signature"
)

// What would Linux 6.12 say to a module, with one certificate in its keyring?
func ExampleJudge_Module() {
	rules, err := kernel.Of("6.12")
	if err != nil {
		fmt.Println(err)
		return
	}
	cert, err := certificate.FromFile("../testdata/keys/rsa2048.x509")
	if err != nil {
		fmt.Println(err)
		return
	}
	var ring kernel.Ring
	ring.Add(cert)
	judge := kernel.NewJudge(rules, &ring, kernel.Module)
	for _, name := range []string{"hello-rsa2048-sha256.ko", "hello-p256-sha256.ko"} {
		module, err := os.Open("../testdata/golden/" + name)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer module.Close()
		info, err := module.Stat()
		if err != nil {
			fmt.Println(err)
			return
		}
		verdict, err := judge.Module(module, info.Size())
		if err != nil {
			fmt.Println("not decided:", err)
			return
		}
		if verdict.Accepted {
			fmt.Println(name, "is accepted:", verdict.DataSize, "bytes are signed")
		} else {
			fmt.Println(name, "is refused:", verdict.Name(), "from", verdict.Func)
		}
	}
	// Output:
	// hello-rsa2048-sha256.ko is accepted: 5248 bytes are signed
	// hello-p256-sha256.ko is refused: ENOKEY from pkcs7_validate_trust
}

// The kernel's words for what is wrong with a file's layout.
func ExampleRefusalOf() {
	trailer := "content\x00\x00\x02\x00\x00\x00\x00\x00\xff\xff\xff\xff" + modsig.Marker
	_, err := modsig.Find(strings.NewReader(trailer), int64(len(trailer)))
	refusal := kernel.RefusalOf(err)
	fmt.Println(refusal.Name(), "from", refusal.Func, errors.Is(refusal, syscall.EBADMSG))
	// Output: EBADMSG from mod_check_sig true
}

// Certificates come from files of every kind, kernel images and the running machine.
func Example_trust() {
	var ring kernel.Ring
	notes, err := trust.Load(&ring, "../testdata/keys/rsa2048.pem", "../testdata/keys/p384.x509")
	fmt.Println(ring.Size(), len(notes), err)
	// Output: 2 0 <nil>
}
