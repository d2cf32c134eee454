package mq

import "context"

type halves struct{}

func (o *Outbox) confirm(context.Context) {}
