package match

// Ruling says what an entry without a counterpart is by now.
type Ruling uint8

// Rulings.
const (
	Wait  Ruling = iota // its counterpart may still come
	Blame               // a difference
	Doubt               // its counterpart may lie past the range
	Skip                // not of the range
)

// Rule gives the ruling for an entry that has no counterpart yet.
type Rule func(side Side, entry *Entry) Ruling

func alwaysWait(Side, *Entry) Ruling { return Wait }

// Settle rules on everything that is pending; what must wait stays pending.
func (m *Matcher) Settle(rule Rule) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disk == nil {
		m.settleTable(m.table, rule)
		return nil
	}
	if err := m.spillAll(); err != nil {
		return err
	}
	from := m.disk
	m.disk = nil
	defer from.close()
	part := newTable()
	for bucket := range buckets {
		if err := m.settleBucket(from, bucket, part, rule); err != nil {
			return err
		}
	}
	return nil
}

// settleBucket matches what waits on disk as if it came now; what is left waits in memory again.
func (m *Matcher) settleBucket(from *spill, bucket int, part *table, rule Rule) error {
	part.clear()
	err := from.each(bucket, func(key Number, side Side, entry *Entry) error {
		m.push(part, key, side, entry)
		return nil
	})
	if err != nil {
		return err
	}
	m.settleTable(part, rule)
	for key, q := range part.keys {
		for _, side := range []Side{Source, Target} {
			for i := q.head[side]; i != none; i = part.at(i).next {
				m.take(key, side, &part.at(i).entry)
			}
		}
	}
	if m.table.entries > m.terms.PendingLimit {
		return m.spillAll()
	}
	return nil
}

func (m *Matcher) settleTable(of *table, rule Rule) {
	for key := range of.keys {
		m.settleKey(of, key, rule)
	}
}

// settleKey aligns both sequences of a key and keeps what must wait.
func (m *Matcher) settleKey(of *table, key Number, rule Rule) {
	q := of.keys[key]
	both := q.has(Source) && q.has(Target)
	if !m.due(of, &q, rule) && !(both && q.count >= q.retry) {
		return
	}
	aligned := align(of.list(&q, Source), of.list(&q, Target))
	if q.count >= hopeless && len(aligned.pairs) == 0 && both && !m.terms.Aligning {
		rule = func(Side, *Entry) Ruling { return Blame }
	}
	kept := m.classify(key, &aligned, rule)
	for _, each := range aligned.pairs {
		m.matched(key, Source, &aligned.source[each[Source]], &aligned.target[each[Target]])
	}
	m.rewrite(of, key, &q, kept)
}

// due reports whether the rule has an answer for some entry.
func (m *Matcher) due(of *table, q *queues, rule Rule) bool {
	for _, side := range []Side{Source, Target} {
		for i := q.head[side]; i != none; i = of.at(i).next {
			if rule(side, &of.at(i).entry) != Wait {
				return true
			}
		}
	}
	return false
}

func (m *Matcher) rewrite(of *table, key Number, q *queues, kept []lone) {
	of.remove(key, q)
	next := emptyQueues()
	for i := range kept {
		of.add(&next, kept[i].side, &kept[i].entry)
	}
	next.retry = max(alignEvery, 2*next.count)
	of.put(key, &next)
}
