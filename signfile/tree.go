package signfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"sign-file/internal/atomicfile"
	"sign-file/internal/compressed"
	"sign-file/internal/paths"
)

// Item is one module of many: a path that was named, or what a Tree found.
type Item struct {
	// Path is the module's path. That of what a Tree found is for messages: the
	// module is opened from the directory that the tree holds.
	Path string

	root     *atomicfile.Folder // that the module was found below; nil for a named path
	relative string             // its path from there
	linked   bool               // links are followed on the way
	raw      bool               // its name says nothing about compression
}

// Relative is the module's path below the directory that it was found in; of one that
// was named, the last component of its path.
func (i Item) Relative() string {
	if i.root == nil {
		return filepath.Base(i.Path)
	}
	return i.relative
}

func (i Item) place() (*atomicfile.Place, error) {
	switch {
	case i.root == nil:
		return atomicfile.At(i.Path)
	case i.linked:
		return i.root.At(i.relative)
	}
	return i.root.Below(i.relative, false)
}

// Named reports whether the path was named, and not found in a directory: then it may be a
// link, and the file that it leads to is the module.
func (i Item) Named() bool { return i.root == nil }

// follow reports whether the module's name may be a link.
func (i Item) follow() bool { return i.root == nil || i.linked }

// Tree finds modules in directories. It holds the directories that were named, so that
// what is opened later is what was found, wherever their names lead by then.
type Tree struct {
	// FollowLinks follows what depmod(8) follows: links to modules and to
	// directories, without those named build and source, which lead to the kernel's
	// sources. Otherwise a module that is a link is an error: ErrLink.
	FollowLinks bool
	// AnyFile finds every regular file, whatever its name, and takes its bytes as they are:
	// data of map values.
	AnyFile bool
	// Except is a directory to leave out, where it is not named itself.
	Except os.FileInfo

	roots []*atomicfile.Folder
}

// ErrLink refuses a symbolic link that was found in a tree, or where an output goes.
var ErrLink = atomicfile.ErrLink

// Close lets go of the directories, after the last module was opened.
func (t *Tree) Close() {
	for _, root := range t.roots {
		root.Close()
	}
}

// Add calls found for a file, or for every module below a directory, and for what
// can't be read.
func (t *Tree) Add(path string, found func(Item, error)) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		found(Item{Path: path, raw: t.AnyFile}, err)
		return
	}
	root, err := atomicfile.OpenFolder(path)
	if err != nil {
		found(Item{Path: path}, err)
		return
	}
	t.roots = append(t.roots, root)
	w := walk{Tree: t, root: root, found: found, seen: map[place]bool{}}
	w.enter(root, "")
	for len(w.links) > 0 {
		link := w.links[0]
		w.links = w.links[1:]
		w.follow(link)
	}
}

var errNotRegular = errors.New("not a regular file")

// walk is one directory that was named.
type walk struct {
	*Tree
	root  *atomicfile.Folder
	found func(Item, error)
	// Where links are followed, each directory is looked through once, under its own
	// name if it has one in the tree: a few links could make as many ways as there are
	// stars.
	seen  map[place]bool
	links []string
}

// place tells directories apart.
type place struct{ device, inode uint64 }

// item is what was found at a path below the root.
func (w *walk) item(relative string) Item {
	return Item{Path: paths.Join(w.root.Path(), relative), root: w.root, relative: relative, linked: w.FollowLinks, raw: w.AnyFile}
}

// directory looks through a directory. relative is empty, or ends with a slash.
func (w *walk) directory(dir *atomicfile.Folder, relative string) {
	entries, err := dir.ReadDir()
	if err != nil {
		w.found(Item{Path: dir.Path()}, err)
	}
	for _, entry := range entries {
		name := relative + entry.Name()
		switch {
		case entry.IsDir() && len(w.root.Path())+len(name) >= unix.PathMax: // nothing in there has a path
			w.found(w.item(name), &fs.PathError{Op: "open", Path: paths.Join(w.root.Path(), name), Err: unix.ENAMETOOLONG})
		case entry.IsDir():
			sub, err := dir.Sub(entry.Name())
			if err != nil {
				w.found(w.item(name), err)
				continue
			}
			w.enter(sub, name+"/")
			sub.Close()
		case entry.Type() == fs.ModeSymlink:
			w.link(dir, entry.Name(), name)
		case w.AnyFile && !entry.Type().IsRegular():
			w.found(w.item(name), &fs.PathError{Op: "open", Path: paths.Join(w.root.Path(), name), Err: errNotRegular})
		case w.wanted(name):
			w.found(w.item(name), nil)
		}
	}
}

// enter looks through a directory that was not seen before.
func (w *walk) enter(dir *atomicfile.Folder, relative string) {
	if w.Except != nil && dir.Is(w.Except) && relative != "" {
		return
	}
	if w.FollowLinks {
		info, err := dir.Stat()
		if err != nil {
			w.found(Item{Path: dir.Path()}, err)
			return
		}
		stat := info.Sys().(*syscall.Stat_t)
		here := place{uint64(stat.Dev), uint64(stat.Ino)}
		if w.seen[here] {
			return
		}
		w.seen[here] = true
	}
	w.directory(dir, relative)
}

// follow goes where a link leads.
func (w *walk) follow(name string) {
	dir, err := w.root.Follow(name)
	if err != nil {
		w.found(w.item(name), err)
		return
	}
	defer dir.Close()
	w.enter(dir, name+"/")
}

// link looks at a link: depmod goes where it leads.
func (w *walk) link(dir *atomicfile.Folder, entry, name string) {
	switch isDir := dir.LeadsToDir(entry); {
	case entry == "build" || entry == "source": // of the kernel, to its sources
	case isDir && w.FollowLinks:
		w.links = append(w.links, name)
	case isDir:
		w.found(w.item(name), &fs.PathError{Op: "open", Path: paths.Join(w.root.Path(), name), Err: ErrLink})
	case w.FollowLinks && w.wanted(name):
		w.found(w.item(name), nil)
	case w.wanted(name):
		w.found(w.item(name), &fs.PathError{Op: "open", Path: paths.Join(w.root.Path(), name), Err: ErrLink})
	}
}

func (t *Tree) wanted(name string) bool { return t.AnyFile || IsModule(name) }

// IsModule tells modules by their names.
func IsModule(name string) bool {
	_, ok := compressed.Of(name)
	return ok || strings.HasSuffix(name, ".ko")
}
