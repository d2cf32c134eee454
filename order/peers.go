package main

import (
	"errors"

	"example.com/fourfold/chassis/books"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/order/internal/checkout"
	"example.com/fourfold/order/internal/conserve"
	store "example.com/fourfold/order/internal/mysql"
)

// peers are the other services that take part.
type peers struct{ inventory, credit, wms checkout.Peer }

// dial connects to each with its first call.
func (c config) dial() (peers, error) {
	inventory, inventoryErr := checkout.Dial(c.Peers.Inventory)
	credit, creditErr := checkout.Dial(c.Peers.Credit)
	wms, wmsErr := checkout.Dial(c.Peers.WMS)
	return peers{inventory, credit, wms}, errors.Join(inventoryErr, creditErr, wmsErr)
}

// comparator compares order's books with those of the others.
func (p peers) comparator(orders *store.Store, keys tcc.Keys) *conserve.Comparator {
	return conserve.New(orders,
		books.NewClient(keys, p.inventory.Conn), books.NewClient(keys, p.credit.Conn), books.NewClient(keys, p.wms.Conn))
}
