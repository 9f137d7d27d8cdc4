package powerfs

import (
	"slices"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// forever is how long the kernel may remember what it was told: nobody else changes it.
const forever = time.Hour

// files is a disk as FUSE asks for it. Inode numbers are node ids; nothing is forgotten before the disk is unmounted.
type files struct {
	fuse.RawFileSystem
	disk *Disk
}

func (f *files) String() string { return "powerfs" }

// find returns a node under the lock, which the caller gives back.
func (f *files) find(ino uint64) *node {
	f.disk.mu.Lock()
	return f.disk.nodes[ino]
}

func (n *node) attributes(out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink = n.ino, n.mode|syscall.S_IFREG, 1
	if n.dir {
		out.Mode, out.Nlink = n.mode|syscall.S_IFDIR, 2
	}
	if n.gone {
		out.Nlink = 0
	}
	out.Size, out.Blksize = uint64(len(n.data)), 4096
	out.Blocks = (out.Size + sector - 1) / sector
	out.SetTimes(&n.when, &n.when, &n.when)
}

func (n *node) entry(out *fuse.EntryOut) {
	out.NodeId = n.ino
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	n.attributes(&out.Attr)
}

func (f *files) Lookup(_ <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	dir := f.find(header.NodeId)
	defer f.disk.mu.Unlock()
	n := dir.names[name]
	if n == nil {
		return fuse.ENOENT
	}
	n.entry(out)
	return fuse.OK
}

func (f *files) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	n.attributes(&out.Attr)
	out.SetTimeout(forever)
	return fuse.OK
}

func (f *files) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		f.disk.fill(n, min(n.filled, int64(size)))
		n.data = resized(n.data, int64(size))
		n.pending = append(n.pending, write{offset: int64(size)})
	}
	if mode, ok := in.GetMode(); ok {
		n.mode = mode & 0o7777
	}
	n.attributes(&out.Attr)
	out.SetTimeout(forever)
	return fuse.OK
}

// create adds a node to a directory, under the lock.
func (f *files) create(dir *node, name string, isDir bool, mode uint32) (*node, fuse.Status) {
	if dir.names[name] != nil {
		return nil, fuse.Status(syscall.EEXIST)
	}
	if !f.disk.fits(1) {
		return nil, fuse.Status(syscall.ENOSPC)
	}
	n := f.disk.make(isDir, mode&0o7777)
	f.disk.apply(change{{dir, name, n}})
	return n, fuse.OK
}

func (f *files) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	dir := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	n, status := f.create(dir, name, true, in.Mode)
	if status == fuse.OK {
		n.entry(out)
	}
	return status
}

func (f *files) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	dir := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	n, status := f.create(dir, name, false, in.Mode)
	if status == fuse.OK {
		n.entry(&out.EntryOut)
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	}
	return status
}

func (f *files) Open(_ <-chan struct{}, _ *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE
	return fuse.OK
}

func (f *files) Unlink(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	dir := f.find(header.NodeId)
	defer f.disk.mu.Unlock()
	n := dir.names[name]
	if n == nil {
		return fuse.ENOENT
	}
	n.gone = true
	f.disk.fill(n, 0) // it may stay open for a moment; a disk that is not full to the byte is full enough
	f.disk.apply(change{{dir, name, nil}})
	return fuse.OK
}

func (f *files) Rmdir(_ <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	dir := f.find(header.NodeId)
	defer f.disk.mu.Unlock()
	n := dir.names[name]
	if n == nil {
		return fuse.ENOENT
	}
	if len(n.names) > 0 {
		return fuse.Status(syscall.ENOTEMPTY)
	}
	n.gone = true
	f.disk.apply(change{{dir, name, nil}})
	return fuse.OK
}

func (f *files) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	from := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	to, n := f.disk.nodes[in.Newdir], from.names[oldName]
	if n == nil {
		return fuse.ENOENT
	}
	if in.Flags != 0 {
		return fuse.EINVAL
	}
	if over := to.names[newName]; over != nil {
		if over.dir && len(over.names) > 0 {
			return fuse.Status(syscall.ENOTEMPTY)
		}
		over.gone = true
		f.disk.fill(over, 0)
	}
	f.disk.apply(change{{from, oldName, nil}, {to, newName, n}})
	return fuse.OK
}

func (f *files) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	if in.Offset >= uint64(len(n.data)) {
		return fuse.ReadResultData(nil), fuse.OK
	}
	return fuse.ReadResultData(buf[:copy(buf, n.data[in.Offset:])]), fuse.OK
}

func (f *files) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	f.wait()
	n := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	end := max(n.filled, int64(in.Offset)+int64(len(data)))
	if more := end - n.filled; more > 0 && !f.disk.fits(more) {
		return 0, fuse.Status(syscall.ENOSPC)
	}
	n.data = written(n.data, int64(in.Offset), data)
	n.when = time.Now()
	f.disk.fill(n, end)
	n.pending = append(n.pending, write{int64(in.Offset), slices.Clone(data)})
	return uint32(len(data)), fuse.OK
}

func (f *files) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f.wait()
	n := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	n.syncFile()
	return fuse.OK
}

func (f *files) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	f.wait()
	n := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	f.disk.syncDir(n)
	return fuse.OK
}

// wait is what a slow disk does.
func (f *files) wait() {
	f.disk.mu.Lock()
	slow := f.disk.slow
	f.disk.mu.Unlock()
	time.Sleep(slow)
}

func (f *files) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK } // close() syncs nothing

func (f *files) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.OK }

func (f *files) OpenDir(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.OK }

func (f *files) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	dir := f.find(in.NodeId)
	defer f.disk.mu.Unlock()
	names := make([]string, 0, len(dir.names))
	for name := range dir.names {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if uint64(i) < in.Offset {
			continue
		}
		n, mode := dir.names[name], uint32(syscall.S_IFREG)
		if n.dir {
			mode = syscall.S_IFDIR
		}
		if !out.AddDirEntry(fuse.DirEntry{Name: name, Mode: mode, Ino: n.ino, Off: uint64(i) + 1}) {
			break
		}
	}
	return fuse.OK
}

func (f *files) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	out.Bsize, out.NameLen = sector, 255
	out.Blocks = uint64(max(f.disk.capacity, 0)) / sector
	out.Bfree = uint64(max(f.disk.capacity-f.disk.used, 0)) / sector
	out.Bavail = out.Bfree
	return fuse.OK
}

// fill makes a file take so much space.
func (d *Disk) fill(n *node, bytes int64) {
	d.used += bytes - n.filled
	n.filled = bytes
}

func (d *Disk) fits(more int64) bool { return d.used+more <= d.capacity }
