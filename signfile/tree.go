package signfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

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

// follow reports whether the module's name may be a link.
func (i Item) follow() bool { return i.root == nil || i.linked }

// Open opens the module.
func (i Item) Open() (*Module, error) { return open(i) }

// Tree finds modules in directories. It holds the directories that were named, so that
// what is opened later is what was found, wherever their names lead by then.
type Tree struct {
	// FollowLinks follows what depmod(8) follows: links to modules and to
	// directories, without those named build and source, which lead to the kernel's
	// sources. Otherwise a module that is a link is an error: ErrLink.
	FollowLinks bool
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
		found(Item{Path: path}, err)
		return
	}
	root, err := atomicfile.OpenFolder(path)
	if err != nil {
		found(Item{Path: path}, err)
		return
	}
	t.roots = append(t.roots, root)
	w := walk{Tree: t, root: root, found: found, above: []os.FileInfo{info}}
	w.directory(root, "")
}

// walk is one directory that was named.
type walk struct {
	*Tree
	root  *atomicfile.Folder
	found func(Item, error)
	above []os.FileInfo // the directories on the way, where links are followed
}

// item is what was found at a path below the root.
func (w *walk) item(relative string) Item {
	return Item{Path: paths.Join(w.root.Path(), relative), root: w.root, relative: relative, linked: w.FollowLinks}
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
		case entry.IsDir():
			w.enter(dir.Sub, entry.Name(), name)
		case entry.Type() == fs.ModeSymlink:
			w.link(dir, entry.Name(), name)
		case isModule(name):
			w.found(w.item(name), nil)
		}
	}
}

// enter goes into a directory.
func (w *walk) enter(open func(string) (*atomicfile.Folder, error), entry, name string) {
	dir, err := open(entry)
	if err != nil {
		w.found(w.item(name), err)
		return
	}
	defer dir.Close()
	if w.Except != nil && dir.Is(w.Except) {
		return
	}
	if w.FollowLinks {
		info, err := dir.Stat()
		if err != nil {
			w.found(w.item(name), err)
			return
		}
		for _, above := range w.above {
			if os.SameFile(above, info) {
				return // a link to where the walk comes from
			}
		}
		w.above = append(w.above, info)
		defer func() { w.above = w.above[:len(w.above)-1] }()
	}
	w.directory(dir, name+"/")
}

// link looks at a link: depmod goes where it leads.
func (w *walk) link(dir *atomicfile.Folder, entry, name string) {
	switch isDir := dir.LeadsToDir(entry); {
	case isDir && w.FollowLinks && entry != "build" && entry != "source":
		w.enter(dir.Follow, entry, name)
	case isDir:
	case w.FollowLinks && isModule(name):
		w.found(w.item(name), nil)
	case isModule(name):
		w.found(w.item(name), &fs.PathError{Op: "open", Path: paths.Join(w.root.Path(), name), Err: ErrLink})
	}
}

// isModule tells modules by their names.
func isModule(name string) bool {
	_, ok := compressed.Of(name)
	return ok || strings.HasSuffix(name, ".ko")
}
