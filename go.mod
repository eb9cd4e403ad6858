module sign-file

go 1.26
