package main

import (
	_ "gorm.io/driver/mysql"
	_ "gorm.io/gorm"
)

func main() {}
