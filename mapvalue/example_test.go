package mapvalue_test

import (
	"bytes"
	"context"
	"fmt"

	"sign-file/certificate"
	"sign-file/keys"
	"sign-file/mapvalue"
	"sign-file/signfile"
)

// Data is signed as a module is, and becomes the value of a map whose values have 1024
// bytes.
func Example() {
	key, err := keys.Open(context.Background(), "../testdata/keys/rsa2048.key", nil)
	check(err)
	defer key.Close()
	cert, err := certificate.FromFile("../testdata/keys/rsa2048.x509")
	check(err)
	var signed bytes.Buffer
	err = signfile.Sign(context.Background(), &signed, bytes.NewReader([]byte("allow 10.0.0.1")), signfile.Options{Key: key, Certificate: cert})
	check(err)
	value, err := mapvalue.Encode(signed.Bytes(), nil, 1024)
	check(err)

	decoded, err := mapvalue.Decode(value)
	check(err)
	fmt.Printf("%d bytes: %q and a tail of %d\n", len(value), decoded.Data, len(decoded.Tail))
	// Output: 1024 bytes: "allow 10.0.0.1" and a tail of 521
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
