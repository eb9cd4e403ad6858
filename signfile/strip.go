package signfile

import (
	"context"
	"io"

	"sign-file/internal/atomicfile"
)

// StripFile takes the outermost signature off a signed module, in place. The
// error is modsig.ErrUnsigned where there is none, a *verdict.Refusal where the
// trailer is not one that can be trusted to tell where the content ends.
func StripFile(ctx context.Context, module *Module) error {
	layout, err := module.Find()
	if err != nil {
		return err
	}
	if module.Compressed() {
		if err := module.Truncate(layout.ContentSize); err != nil {
			return err
		}
		pending, err := prepareScratch(ctx, module, "")
		if err != nil {
			return err
		}
		return pending.Commit()
	}
	target, err := atomicfile.Entry(module.Path())
	if err != nil {
		return err
	}
	out, err := target.Create()
	if err != nil {
		return err
	}
	defer out.Discard()
	if _, err := pour(ctx, io.NewSectionReader(module, 0, layout.ContentSize), bufferSize, out); err != nil {
		return err
	}
	return out.Commit()
}
