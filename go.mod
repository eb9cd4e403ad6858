module sign-file

go 1.26.0

require (
	github.com/emmansun/gmsm v0.15.5
	golang.org/x/crypto v0.58.0
	golang.org/x/sys v0.49.0
)
