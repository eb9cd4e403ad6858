package signfile

import (
	"context"
	"io"
	"os"

	"sign-file/internal/atomicfile"
	modsig "sign-file/module_signature"
)

// StripFile takes the outermost signature off a signed module, in place. The
// error is modsig.ErrUnsigned where there is none, a *verdict.Refusal where the
// trailer is not one that can be trusted to tell where the content ends.
func StripFile(ctx context.Context, module *os.File) error {
	info, err := module.Stat()
	if err != nil {
		return err
	}
	layout, err := modsig.Find(module, info.Size())
	if err != nil {
		return err
	}
	target, err := atomicfile.Entry(module.Name())
	if err != nil {
		return err
	}
	out, err := target.Create()
	if err != nil {
		return err
	}
	defer out.Discard()
	content := io.NewSectionReader(module, 0, layout.ContentSize)
	if _, err := pour(ctx, content, bufferSize, out); err != nil {
		return err
	}
	return out.Commit()
}
