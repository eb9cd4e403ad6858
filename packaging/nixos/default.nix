# nix-build packaging/nixos, in the release's tarball, which has its modules in vendor/, and
# its version and commit in .version. Not run by a test.
{ pkgs ? import <nixpkgs> { } }:
let
  stamp = pkgs.lib.splitString "\n" (builtins.readFile ../../.version);
  version = builtins.elemAt stamp 0;
  commit = builtins.elemAt stamp 1;
in
pkgs.buildGoModule {
  pname = "sign-file";
  inherit version;
  src = ../..;
  vendorHash = null; # vendor/ is in the tarball
  tags = [ "urfave_cli_no_docs" "netgo" "osusergo" ];
  ldflags = [
    "-s"
    "-w"
    "-X sign-file/internal/cli.release=${version}"
    "-X sign-file/internal/cli.commit=${commit}"
  ];
  subPackages = [ "." ];
  postBuild = "go run -tags urfave_cli_no_docs ./tools/manual man/pages";
  # buildGoModule leaves the program in GOPATH; make install takes it from here.
  installPhase = ''
    cp $GOPATH/bin/sign-file .
    make install DESTDIR= PREFIX=$out
  '';
}
