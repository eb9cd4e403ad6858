package test

import (
	"path/filepath"
	"strings"
	"testing"

	"sign-file/test/testenv"
)

// completions are command lines whose last word is not finished, and what a shell must make
// of it in a folder with hello.ko, signing_key.pem and notes.txt.
var completions = []struct{ typed, finished string }{
	{"sign-file veri", "verify"},
	{"sign-file sign sha25", "sha256"},
	{"sign-file sha256 pkcs1", "pkcs11:"},
	{"sign-file sha256 sig", "signing_key.pem"},
	{"sign-file sha256 k c he", "hello.ko"},
	{"sign-file -k sha256 k c he", "hello.ko"},
	{"sign-file verify --trus", "--trusted"},
	{"sign-file verify --trusted runn", "running"},
	{"sign-file verify --jobs 4 --trusted=x he", "hello.ko"},
	{"sign-file verify --trusted=runn", "--trusted=running"},
	{"sign-file verify --trusted=sig", "--trusted=signing_key.pem"},
	{"sign-file verify --trusted=dir/", "--trusted=dir/cert.x509"},
	{"sign-file keygen --type=ec:p25", "--type=ec:p256"},
	{"sign-file map gate crea", "create"},
	{"sign-file map sign --format he", "hex"},
	{"sign-file keygen --type ec:p25", "ec:p256"},
	{"kmodsign sha38", "sha384"},
	{"extract-cert sig", "signing_key.pem"},
}

// fishNames are names that fish expands, or takes out of quotes, before it looks for files.
var fishNames = []struct{ typed, finished string }{
	{`sign-file sha256 "sp`, "sp ace.pem"},
	{`sign-file sha256 'sp`, "sp ace.pem"},
	{`sign-file sha256 sp\ a`, "sp ace.pem"},
	{`sign-file verify --trusted="sp`, "--trusted=sp ace.pem"},
	{`sign-file sha256 k c dir\ one/`, "dir one/world.ko"},
	{`sign-file sha256 k c "dir one/wo`, "dir one/world.ko"},
	{`sign-file sha256 ~/`, "~/mine.pem"},
	{`sign-file sha256 $HOME/mi`, "$HOME/mine.pem"},
}

// TestCompletion asks the shells themselves.
func TestCompletion(t *testing.T) {
	t.Parallel()
	dir, bin := t.TempDir(), t.TempDir()
	for _, name := range []string{"hello.ko", "signing_key.pem", "notes.txt", "dir/cert.x509", "sp ace.pem", "dir one/world.ko", "dir one/notes.txt", "home/mine.pem"} {
		mkdir(t, filepath.Join(dir, filepath.Dir(name)))
		writeFile(t, filepath.Join(dir, name), "x", 0o644)
	}
	for _, name := range []string{"sign-file", "kmodsign", "extract-cert"} {
		symlink(t, program(t), filepath.Join(bin, name))
	}
	for shell, complete := range map[string]func(t *testing.T, dir, bin, typed, finished string){
		"bash": completeBash, "fish": completeFish, "zsh": completeZsh,
	} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			testenv.Tool(t, shell)
			for _, c := range completions {
				complete(t, dir, bin, c.typed, c.finished)
			}
			if shell != "fish" {
				return
			}
			for _, c := range fishNames {
				complete(t, dir, bin, c.typed, c.finished)
			}
		})
	}
}

// completeBash calls the function that Tab calls, with what bash hands it: words that are
// broken at colons and equals signs. There is no package bash-completion.
func completeBash(t *testing.T, dir, bin, typed, finished string) {
	t.Helper()
	script := `cd "$1"; PATH=$2:$PATH; . <(sign-file completion bash)
COMP_LINE=$3 COMP_POINT=${#3}
read -ra COMP_WORDS <<<"$(sed 's/[:=]/ & /g' <<<"$3")"
[ -n "${3##* }" ] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
_sign_file
printf '%s\n' "${COMPREPLY[@]}"`
	out := mustRun(t, nil, "bash", "-c", script, "bash", dir, bin, typed)
	// What is in front of a colon or an equals sign is on the line already.
	if got := strings.TrimSpace(out); got != finished && !strings.HasSuffix(finished, ":"+got) && !strings.HasSuffix(finished, "="+got) {
		t.Errorf("bash makes %q of %q, not %q", got, typed, finished)
	}
}

// completeFish has the script where fish looks first, before that of a package.
func completeFish(t *testing.T, dir, bin, typed, finished string) {
	t.Helper()
	home := dir + "/home"
	for _, name := range []string{"sign-file", "kmodsign", "extract-cert"} {
		writeFile(t, mkdir(t, home+"/.config/fish/completions")+"/"+name+".fish", mustRun(t, nil, bin+"/sign-file", "completion", "fish"), 0o644)
	}
	script := `set PATH $argv[2] $PATH; cd $argv[1]; complete -C $argv[3]`
	out := mustRun(t, []string{"HOME=" + home, "XDG_CONFIG_HOME="}, "fish", "-c", script, dir, bin, typed)
	got, _, _ := strings.Cut(strings.TrimSpace(out), "\t")
	if got != finished {
		t.Errorf("fish makes %q of %q, not %q", out, typed, finished)
	}
}

// completeZsh types into a zsh on a terminal, and waits for the finished line.
func completeZsh(t *testing.T, dir, bin, typed, finished string) {
	t.Helper()
	script := `zmodload zsh/zpty
zpty z 'PS1= TERM=dumb zsh -f -i'
zpty -w z "cd $1; PATH=$2:\$PATH; autoload -U compinit; compinit -D -u; source <(sign-file completion zsh); bindkey '^I' complete-word; unsetopt zle_bracketed_paste; echo read''y"
zpty -r z out '*ready*'
zpty -w -n z "$3"$'\t'
zpty -r z out "*$4*"
print -r -- "$out"`
	line := typed[:strings.LastIndex(typed, " ")+1] + finished
	last := line[len(typed)-1:] // zsh writes only what it adds, or the whole word
	out, err := run(t, []string{"HOME=" + t.TempDir()}, "timeout", "120", "zsh", "-f", "-c", script, "zsh", dir, bin, typed, last[1:])
	if err != nil {
		t.Errorf("zsh does not make %q of %q: %v\n%q", line, typed, err, out)
	}
}
