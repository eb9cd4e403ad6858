# nix-build: the release's tarball, which has its modules in vendor/. Not run by a test.
{ pkgs ? import <nixpkgs> { } }:
pkgs.buildGoModule {
  pname = "sign-file";
  version = "0.1";
  src = ../..;
  vendorHash = null; # vendor/ is in the tarball
  tags = [ "urfave_cli_no_docs" "netgo" "osusergo" ];
  ldflags = [ "-s" "-w" ];
  subPackages = [ "." ];
  postBuild = "go run -tags urfave_cli_no_docs ./tools/manual man/pages";
  # buildGoModule leaves the program in GOPATH; make install takes it from here.
  installPhase = ''
    cp $GOPATH/bin/sign-file .
    make install DESTDIR= PREFIX=$out
  '';
}
