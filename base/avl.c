/* SPDX-License-Identifier: MIT */
/*
 * avl.c - the balanced tree behind the free blocks and the ordered names
 *
 * Textbook AVL with parent links: an insertion climbs until a subtree's height has not changed and
 * rotates at most once; an erasure may rotate once a level. Left and right are written once, as
 * `side` and its mirror image.
 *
 * The nodes come from a file, so links are input. The rule that keeps a damaged tree from damaging
 * anything else:
 *
 *   1  a link is followed only if it lies in the segment, is aligned, and is answered: the child
 *      names the parent as its parent, or the parent the child as its child;
 *   2  nothing is written through a link that was not followed so; an operation that meets one
 *      stops there (the tree stays damaged, and hf__avl_check says where);
 *   3  no path is longer than HF__AVL_HEIGHT_MAX.
 *
 * Cost in announcements, HF__EDIT_COST(24) = 200 bytes each. An insertion announces a path and one
 * rotation: 60 + 6 nodes, 13 KiB, in the highest tree there can be (2^41 nodes). An erasure
 * announces at most six nodes a rotation, and it can rotate at every step only on a path half as
 * high as the tree: 30 * 6 + 5 nodes, 36 KiB, at the most; below HF__OP_COST (24 KiB) in trees of
 * up to 10^8.
 */
#include "base/avl.h"

enum side { EVEN = 0, RIGHT = 1, LEFT = 2 }; /* as a balance: the higher side */

static unsigned mirror(unsigned side)
{
    return RIGHT + LEFT - side;
}

static unsigned balance_of(const struct hf__avl_node *node)
{
    return (unsigned)(node->parent & HF__AVL_BALANCE_MASK);
}

static uint64_t child_of(const struct hf__avl_node *node, unsigned side)
{
    return side == RIGHT ? node->right : node->left;
}

static void set_child(struct hf__avl_node *node, unsigned side, uint64_t child)
{
    if (side == RIGHT)
        node->right = child;
    else
        node->left = child;
}

/* NULL if no node can lie there. */
static const struct hf__avl_node *node_at(const struct hf__segment *seg, uint64_t node)
{
    if (node == 0 || node % 16 != 0 || !hf__in_segment(seg, node, sizeof(struct hf__avl_node)))
        return NULL;
    return hf__avl_at(seg, node);
}

static struct hf__avl_node *edit_node(struct hf__segment *seg, uint64_t node)
{
    return (struct hf__avl_node *)hf__edit(seg, node, sizeof(struct hf__avl_node));
}

static void edit_parent(struct hf__segment *seg, uint64_t node, uint64_t parent)
{
    struct hf__avl_node *n = edit_node(seg, node);
    n->parent = parent | balance_of(n);
}

static void edit_balance(struct hf__segment *seg, uint64_t node, unsigned balance)
{
    struct hf__avl_node *n = edit_node(seg, node);
    n->parent = hf__avl_parent(n) | balance;
}

/* Goes down from a good node: true with *child = 0 or a good node that answers. */
static bool follow(const struct hf__segment *seg, uint64_t node, unsigned side, uint64_t *child)
{
    const struct hf__avl_node *n = hf__avl_at(seg, node);
    *child = child_of(n, side);
    if (*child == 0)
        return true;
    const struct hf__avl_node *c = node_at(seg, *child);
    return c != NULL && hf__avl_parent(c) == node;
}

/* Goes up from a good node: true with *parent = 0, or a good node and the side its child is on. */
static bool climb(const struct hf__segment *seg, uint64_t node, uint64_t *parent, unsigned *side)
{
    *parent = hf__avl_parent(hf__avl_at(seg, node));
    *side = EVEN;
    if (*parent == 0)
        return true;
    const struct hf__avl_node *p = node_at(seg, *parent);
    if (p == NULL)
        return false;
    if (p->right == node)
        *side = RIGHT;
    else if (p->left == node)
        *side = LEFT;
    return *side != EVEN;
}

/* Whether the link from above to node (from the root field for parent 0) is really there. */
static bool hangs(const struct hf__segment *seg, uint64_t root_field, uint64_t node,
                  uint64_t *parent, unsigned *side)
{
    if (!climb(seg, node, parent, side))
        return false;
    return *parent != 0 || *(const uint64_t *)hf__at(seg, root_field) == node;
}

/* Turns the link from above to another node. */
static void relink(struct hf__segment *seg, uint64_t root_field, uint64_t parent, unsigned side,
                   uint64_t node)
{
    if (parent == 0)
        *(uint64_t *)hf__edit(seg, root_field, sizeof(uint64_t)) = node;
    else
        set_child(edit_node(seg, parent), side, node);
}

/* x is too high on side, z is its child there:   x( a, z( b, c ) )  ->  z( x( a, b ), c ). */
static void rotate_once(struct hf__segment *seg, uint64_t x, uint64_t z, uint64_t inner,
                        uint64_t parent, unsigned side)
{
    struct hf__avl_node *xn = edit_node(seg, x), *zn = edit_node(seg, z);
    bool was_even = balance_of(zn) == EVEN; /* only in an erasure: the height stays */
    if (inner != 0)
        edit_parent(seg, inner, x);
    set_child(xn, side, inner);
    set_child(zn, mirror(side), x);
    xn->parent = z | (was_even ? side : EVEN);
    zn->parent = parent | (was_even ? mirror(side) : EVEN);
}

/* z is too high on its inner side, y:   x( a, z( y( b, c ), d ) )  ->  y( x( a, b ), z( c, d )
 * ). */
static bool rotate_twice(struct hf__segment *seg, uint64_t x, uint64_t z, uint64_t y,
                         uint64_t parent, unsigned side)
{
    uint64_t b, c;
    if (y == 0 || !follow(seg, y, mirror(side), &b) || !follow(seg, y, side, &c))
        return false;
    struct hf__avl_node *xn = edit_node(seg, x), *yn = edit_node(seg, y), *zn = edit_node(seg, z);
    unsigned y_balance = balance_of(yn);
    if (b != 0)
        edit_parent(seg, b, x);
    if (c != 0)
        edit_parent(seg, c, z);
    set_child(xn, side, b);
    set_child(zn, mirror(side), c);
    set_child(yn, side, z);
    set_child(yn, mirror(side), x);
    xn->parent = y | (y_balance == side ? mirror(side) : EVEN);
    zn->parent = y | (y_balance == mirror(side) ? side : EVEN);
    yn->parent = parent | EVEN;
    return true;
}

/* Rotates at x, which is two higher on side. Returns the node now in its place, 0 on damage;
 * *shorter tells whether the subtree is less high than with x on top. */
static uint64_t rebalance(struct hf__segment *seg, uint64_t root_field, uint64_t x, unsigned side,
                          bool *shorter)
{
    uint64_t z, inner, parent;
    unsigned x_side;
    if (!follow(seg, x, side, &z) || z == 0 || !follow(seg, z, mirror(side), &inner) ||
        !hangs(seg, root_field, x, &parent, &x_side))
        return 0;
    unsigned z_balance = balance_of(hf__avl_at(seg, z));
    uint64_t top = z;
    if (z_balance != mirror(side))
        rotate_once(seg, x, z, inner, parent, side);
    else if (rotate_twice(seg, x, z, inner, parent, side))
        top = inner;
    else
        return 0;
    relink(seg, root_field, parent, x_side, top);
    *shorter = z_balance != EVEN;
    return top;
}

void hf__avl_insert(struct hf__segment *seg, uint64_t root_field, uint64_t node, uint64_t parent,
                    bool as_right)
{
    unsigned side = as_right ? RIGHT : LEFT;
    assert(node != 0 && node % 16 == 0);
    assert(parent == 0 ? *(const uint64_t *)hf__at(seg, root_field) == 0
                       : child_of(hf__avl_at(seg, parent), side) == 0);
    struct hf__avl_node *n = edit_node(seg, node);
    n->left = n->right = 0;
    n->parent = parent | EVEN;
    relink(seg, root_field, parent, side, node);

    /* node's subtree has grown by one on `side` of parent */
    for (unsigned height = 0; parent != 0 && height < HF__AVL_HEIGHT_MAX; height++) {
        unsigned balance = balance_of(hf__avl_at(seg, parent));
        if (balance == EVEN) {
            edit_balance(seg, parent, side);
        } else if (balance == side) {
            bool shorter;
            rebalance(seg, root_field, parent, side, &shorter);
            return;
        } else {
            edit_balance(seg, parent, EVEN);
            return;
        }
        if (!climb(seg, parent, &parent, &side))
            return;
    }
}

/* The subtree on `side` of node has become lower by one: restores the balances up to the root. */
static void shrunk(struct hf__segment *seg, uint64_t root_field, uint64_t node, unsigned side)
{
    for (unsigned height = 0; node != 0 && height < HF__AVL_HEIGHT_MAX; height++) {
        unsigned balance = balance_of(hf__avl_at(seg, node));
        if (balance == EVEN) {
            edit_balance(seg, node, mirror(side));
            return;
        }
        if (balance == side) {
            edit_balance(seg, node, EVEN);
        } else {
            bool shorter;
            node = rebalance(seg, root_field, node, mirror(side), &shorter);
            if (node == 0 || !shorter)
                return;
        }
        if (!climb(seg, node, &node, &side))
            return;
    }
}

/* The last answered node on that side; 0 on damage. */
static uint64_t outermost(const struct hf__segment *seg, uint64_t node, unsigned side)
{
    for (unsigned height = 0; height < HF__AVL_HEIGHT_MAX; height++) {
        uint64_t child;
        if (!follow(seg, node, side, &child))
            return 0;
        if (child == 0)
            return node;
        node = child;
    }
    return 0;
}

/* Puts the next node in order, `heir`, where node was: both of node's children are there. */
static void bequeath(struct hf__segment *seg, uint64_t root_field, uint64_t node, uint64_t parent,
                     unsigned node_side)
{
    const struct hf__avl_node *n = hf__avl_at(seg, node);
    uint64_t left = n->left, right = n->right, below, above;
    unsigned side, balance = balance_of(n);
    uint64_t heir = outermost(seg, right, LEFT);
    if (heir == 0 || !follow(seg, heir, RIGHT, &below) || !climb(seg, heir, &above, &side))
        return;
    if (heir == right) {
        above = heir; /* what shrinks is the heir's own right side */
        side = RIGHT;
    } else {
        set_child(edit_node(seg, above), LEFT, below);
        if (below != 0)
            edit_parent(seg, below, above);
        edit_parent(seg, right, heir);
        below = right;
    }
    struct hf__avl_node *h = edit_node(seg, heir);
    h->left = left;
    h->right = below;
    h->parent = parent | balance;
    edit_parent(seg, left, heir);
    relink(seg, root_field, parent, node_side, heir);
    shrunk(seg, root_field, above, side);
}

bool hf__avl_answered(const struct hf__segment *seg, uint64_t root_field, uint64_t node)
{
    uint64_t other;
    unsigned side;
    return node_at(seg, node) != NULL && hangs(seg, root_field, node, &other, &side) &&
           follow(seg, node, LEFT, &other) && follow(seg, node, RIGHT, &other);
}

void hf__avl_erase(struct hf__segment *seg, uint64_t root_field, uint64_t node)
{
    uint64_t parent, left, right;
    unsigned side;
    assert(node != 0 && node % 16 == 0);
    if (node_at(seg, node) == NULL || !hangs(seg, root_field, node, &parent, &side) ||
        !follow(seg, node, LEFT, &left) || !follow(seg, node, RIGHT, &right))
        return;
    if (left != 0 && right != 0) {
        bequeath(seg, root_field, node, parent, side);
        return;
    }
    uint64_t child = left != 0 ? left : right;
    if (child != 0)
        edit_parent(seg, child, parent);
    relink(seg, root_field, parent, side, child);
    shrunk(seg, root_field, parent, side);
}

static uint64_t end_of(const struct hf__segment *seg, uint64_t root, unsigned side)
{
    const struct hf__avl_node *n = node_at(seg, root);
    return n != NULL && hf__avl_parent(n) == 0 ? outermost(seg, root, side) : 0;
}

static uint64_t neighbour(const struct hf__segment *seg, uint64_t node, unsigned side)
{
    uint64_t next;
    if (node_at(seg, node) == NULL || !follow(seg, node, side, &next))
        return 0;
    if (next != 0)
        return outermost(seg, next, mirror(side));
    for (unsigned height = 0; height < HF__AVL_HEIGHT_MAX; height++) {
        unsigned from;
        if (!climb(seg, node, &next, &from) || next == 0)
            return 0;
        if (from != side)
            return next;
        node = next;
    }
    return 0;
}

uint64_t hf__avl_first(const struct hf__segment *seg, uint64_t root)
{
    return end_of(seg, root, LEFT);
}

uint64_t hf__avl_last(const struct hf__segment *seg, uint64_t root)
{
    return end_of(seg, root, RIGHT);
}

uint64_t hf__avl_next(const struct hf__segment *seg, uint64_t node)
{
    return neighbour(seg, node, RIGHT);
}

uint64_t hf__avl_previous(const struct hf__segment *seg, uint64_t node)
{
    return neighbour(seg, node, LEFT);
}

/* ---- the check ------------------------------------------------------------------------------- */

enum { RULE_BALANCE, RULE_PARENT, RULE_ORDER, RULE_BOUNDS };

struct walk {
    const struct hf__segment *seg;
    const char *const *rules;
    struct hf__check *check;
    bool (*valid)(void *user, uint64_t node);
    bool (*ordered)(void *user, uint64_t previous, uint64_t node);
    void *user;
    uint64_t nodes_max, nodes;
    uint64_t previous; /* the last node in order */
    bool over;         /* a bound was met: the rest of the tree is not looked at */
};

/* Whether the walk may read node, counting it. */
static bool enter(struct walk *walk, uint64_t node, uint64_t parent, unsigned depth)
{
    const struct hf__avl_node *n = node_at(walk->seg, node);
    if (n == NULL) {
        hf__finding(walk->check, walk->rules[RULE_BOUNDS], parent,
                    "link to %llu, which can't be a node", (unsigned long long)node);
        return false;
    }
    if (depth >= HF__AVL_HEIGHT_MAX || walk->nodes >= walk->nodes_max) {
        hf__finding(walk->check, walk->rules[RULE_BOUNDS], node,
                    "more nodes or a longer path than there can be");
        walk->over = true;
        return false;
    }
    walk->nodes++;
    if (!walk->valid(walk->user, node))
        return false;
    if (hf__avl_parent(n) != parent) {
        /* Not followed: below it the tree is some other node's, or a cycle. */
        hf__finding(walk->check, walk->rules[RULE_PARENT], node, "parent is %llu, expected %llu",
                    (unsigned long long)hf__avl_parent(n), (unsigned long long)parent);
        return false;
    }
    return true;
}

/* Returns the height of the subtree; it is as deep as the tree is high, at most
 * HF__AVL_HEIGHT_MAX. */
static unsigned check_subtree(struct walk *walk, uint64_t node, uint64_t parent, unsigned depth)
{
    if (node == 0 || walk->over || hf__check_stopped(walk->check) ||
        !enter(walk, node, parent, depth))
        return 0;
    const struct hf__avl_node *n = hf__avl_at(walk->seg, node);
    unsigned left = check_subtree(walk, n->left, node, depth + 1);
    if (walk->previous != 0 && !walk->ordered(walk->user, walk->previous, node))
        hf__finding(walk->check, walk->rules[RULE_ORDER], node, "does not sort after %llu",
                    (unsigned long long)walk->previous);
    walk->previous = node;
    unsigned right = check_subtree(walk, n->right, node, depth + 1);
    unsigned expected = right == left + 1 ? RIGHT : left == right + 1 ? LEFT : EVEN;
    if ((expected == EVEN && left != right) || balance_of(n) != expected)
        hf__finding(walk->check, walk->rules[RULE_BALANCE], node,
                    "balance %u over heights %u and %u", balance_of(n), left, right);
    return 1 + (left > right ? left : right);
}

uint64_t hf__avl_check(const struct hf__segment *seg, uint64_t root, uint64_t nodes_max,
                       const char *const rules[4], struct hf__check *check,
                       bool (*valid)(void *user, uint64_t node),
                       bool (*ordered)(void *user, uint64_t previous, uint64_t node), void *user)
{
    struct walk walk = {.seg = seg,
                        .rules = rules,
                        .check = check,
                        .valid = valid,
                        .ordered = ordered,
                        .user = user,
                        .nodes_max = nodes_max};
    check_subtree(&walk, root, 0, 0);
    return walk.nodes;
}
