# Every repository has exactly one cluster block. Everything in it has a default;
# what stands here is what people like to see written down.

cluster "quickstart" {
  sync {
    approval = "auto" # every good commit is applied; "manual" makes it a plan that waits for: stowage apply
  }

  policy "binpack" {} # fill nodes one after another; the other built-in policy is "spread"

  disruption {
    max_unavailable = "50%" # at most half of an app may be missing at a time (the default is 10%)
  }
}

# Roles share the machines fairly when there is not enough for all: here two parts to one.
role "shop" {
  weight = 2
}

role "tools" {
  weight = 1

  quota {
    cpu    = 2
    memory = "1GiB"
  }
}
