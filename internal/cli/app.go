package cli

import "context"

func opensSecondFace(string) bool { return false }

func (p *program) subcommand(context.Context, []string) int { return exitUsage }
