package redis

import "github.com/fairlead-go/fairlead/session/driver"

// Persistence is the finding about what INFO says.
func Persistence(text string) driver.Finding { return parseInfo(text).persistence() }
