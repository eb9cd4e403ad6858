package kernel

// Object identifiers that the kernel tells apart, as the content of their DER.
const (
	// PKCS#7 and its attributes (RFC 2315, RFC 5652, RFC 8551, Authenticode)
	oidData              = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"     // 1.2.840.113549.1.7.1
	oidSignedData        = "\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"     // 1.2.840.113549.1.7.2
	oidIndirectData      = "\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x04" // 1.3.6.1.4.1.311.2.1.4
	oidContentType       = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03"     // 1.2.840.113549.1.9.3
	oidMessageDigest     = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04"     // 1.2.840.113549.1.9.4
	oidSigningTime       = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05"     // 1.2.840.113549.1.9.5
	oidSMIMECapabilities = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0f"     // 1.2.840.113549.1.9.15
	oidStatementType     = "\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0b" // 1.3.6.1.4.1.311.2.1.11
	oidOpusInfo          = "\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0c" // 1.3.6.1.4.1.311.2.1.12

	// Hash algorithms
	oidMD4         = "\x2a\x86\x48\x86\xf7\x0d\x02\x04"     // 1.2.840.113549.2.4
	oidMD5         = "\x2a\x86\x48\x86\xf7\x0d\x02\x05"     // 1.2.840.113549.2.5
	oidSHA1        = "\x2b\x0e\x03\x02\x1a"                 // 1.3.14.3.2.26
	oidSHA224      = "\x60\x86\x48\x01\x65\x03\x04\x02\x04" // 2.16.840.1.101.3.4.2.4
	oidSHA256      = "\x60\x86\x48\x01\x65\x03\x04\x02\x01" // 2.16.840.1.101.3.4.2.1
	oidSHA384      = "\x60\x86\x48\x01\x65\x03\x04\x02\x02" // 2.16.840.1.101.3.4.2.2
	oidSHA512      = "\x60\x86\x48\x01\x65\x03\x04\x02\x03" // 2.16.840.1.101.3.4.2.3
	oidSHA3_256    = "\x60\x86\x48\x01\x65\x03\x04\x02\x08" // 2.16.840.1.101.3.4.2.8
	oidSHA3_384    = "\x60\x86\x48\x01\x65\x03\x04\x02\x09" // 2.16.840.1.101.3.4.2.9
	oidSHA3_512    = "\x60\x86\x48\x01\x65\x03\x04\x02\x0a" // 2.16.840.1.101.3.4.2.10
	oidSM3         = "\x2a\x81\x1c\xcf\x55\x01\x83\x11"     // 1.2.156.10197.1.401
	oidStreebog256 = "\x2a\x85\x03\x07\x01\x01\x02\x02"     // 1.2.643.7.1.1.2.2
	oidStreebog512 = "\x2a\x85\x03\x07\x01\x01\x02\x03"     // 1.2.643.7.1.1.2.3

	// Keys and curves
	oidRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01" // 1.2.840.113549.1.1.1
	oidEC      = "\x2a\x86\x48\xce\x3d\x02\x01"         // 1.2.840.10045.2.1
	oidSM2     = "\x2a\x81\x1c\xcf\x55\x01\x82\x2d"     // 1.2.156.10197.1.301
	oidGOST256 = "\x2a\x85\x03\x07\x01\x01\x01\x01"     // 1.2.643.7.1.1.1.1
	oidGOST512 = "\x2a\x85\x03\x07\x01\x01\x01\x02"     // 1.2.643.7.1.1.1.2
	oidP192    = "\x2a\x86\x48\xce\x3d\x03\x01\x01"     // 1.2.840.10045.3.1.1
	oidP256    = "\x2a\x86\x48\xce\x3d\x03\x01\x07"     // 1.2.840.10045.3.1.7
	oidP384    = "\x2b\x81\x04\x00\x22"                 // 1.3.132.0.34
	oidP521    = "\x2b\x81\x04\x00\x23"                 // 1.3.132.0.35
	oidMLDSA44 = "\x60\x86\x48\x01\x65\x03\x04\x03\x11" // 2.16.840.1.101.3.4.3.17
	oidMLDSA65 = "\x60\x86\x48\x01\x65\x03\x04\x03\x12" // 2.16.840.1.101.3.4.3.18
	oidMLDSA87 = "\x60\x86\x48\x01\x65\x03\x04\x03\x13" // 2.16.840.1.101.3.4.3.19

	// Signatures
	oidMD5WithRSA        = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04" // 1.2.840.113549.1.1.4
	oidSHA1WithRSA       = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05" // 1.2.840.113549.1.1.5
	oidSHA256WithRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b" // 1.2.840.113549.1.1.11
	oidSHA384WithRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c" // 1.2.840.113549.1.1.12
	oidSHA512WithRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d" // 1.2.840.113549.1.1.13
	oidSHA224WithRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e" // 1.2.840.113549.1.1.14
	oidSHA3_256WithRSA   = "\x60\x86\x48\x01\x65\x03\x04\x03\x0e" // 2.16.840.1.101.3.4.3.14
	oidSHA3_384WithRSA   = "\x60\x86\x48\x01\x65\x03\x04\x03\x0f" // 2.16.840.1.101.3.4.3.15
	oidSHA3_512WithRSA   = "\x60\x86\x48\x01\x65\x03\x04\x03\x10" // 2.16.840.1.101.3.4.3.16
	oidECDSAWithSHA1     = "\x2a\x86\x48\xce\x3d\x04\x01"         // 1.2.840.10045.4.1
	oidECDSAWithSHA224   = "\x2a\x86\x48\xce\x3d\x04\x03\x01"     // 1.2.840.10045.4.3.1
	oidECDSAWithSHA256   = "\x2a\x86\x48\xce\x3d\x04\x03\x02"     // 1.2.840.10045.4.3.2
	oidECDSAWithSHA384   = "\x2a\x86\x48\xce\x3d\x04\x03\x03"     // 1.2.840.10045.4.3.3
	oidECDSAWithSHA512   = "\x2a\x86\x48\xce\x3d\x04\x03\x04"     // 1.2.840.10045.4.3.4
	oidECDSAWithSHA3_256 = "\x60\x86\x48\x01\x65\x03\x04\x03\x0a" // 2.16.840.1.101.3.4.3.10
	oidECDSAWithSHA3_384 = "\x60\x86\x48\x01\x65\x03\x04\x03\x0b" // 2.16.840.1.101.3.4.3.11
	oidECDSAWithSHA3_512 = "\x60\x86\x48\x01\x65\x03\x04\x03\x0c" // 2.16.840.1.101.3.4.3.12
	oidSM2WithSM3        = "\x2a\x81\x1c\xcf\x55\x01\x83\x75"     // 1.2.156.10197.1.501
	oidGOSTSignature256  = "\x2a\x85\x03\x07\x01\x01\x03\x02"     // 1.2.643.7.1.1.3.2
	oidGOSTSignature512  = "\x2a\x85\x03\x07\x01\x01\x03\x03"     // 1.2.643.7.1.1.3.3

	// Certificate extensions (RFC 5280, section 4.2.1), and what names are made of
	oidSubjectKeyID     = "\x55\x1d\x0e" // 2.5.29.14
	oidKeyUsage         = "\x55\x1d\x0f" // 2.5.29.15
	oidBasicConstraints = "\x55\x1d\x13" // 2.5.29.19
	oidAuthorityKeyID   = "\x55\x1d\x23" // 2.5.29.35

	// Attributes of names that descriptions are made of
	oidCommonName   = "\x55\x04\x03"                         // 2.5.4.3
	oidOrganization = "\x55\x04\x0a"                         // 2.5.4.10
	oidEmail        = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01" // 1.2.840.113549.1.9.1
)
