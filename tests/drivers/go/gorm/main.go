// A small shop by GORM over go-sql-driver/mysql.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"sort"

	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

type Customer struct {
	ID   int64  `gorm:"primaryKey;autoIncrement:false"`
	Name string `gorm:"size:60"`
}

type Order struct {
	CustomerID int64   `gorm:"primaryKey;autoIncrement:false"`
	Number     int     `gorm:"primaryKey;autoIncrement:false"`
	Total      float64 `gorm:"type:decimal(10,2)"`
	Paid       bool
}

var db *gorm.DB

func main() {
	host := flag.String("host", "", "")
	port := flag.Int("port", 0, "")
	user := flag.String("user", "", "")
	password := flag.String("password", "", "")
	database := flag.String("database", "", "")
	flag.String("checklist", "", "not for an application")
	flag.Parse()
	address := fmt.Sprintf("%s:%s@tcp(%s:%d)/%s?charset=utf8mb4&parseTime=True", *user, *password, *host, *port, *database)
	var err error
	db, err = gorm.Open(mysql.Open(address), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		log.Fatal(err)
	}
	for _, part := range parts {
		answer, err := part.run()
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		line, _ := json.Marshal(map[string]any{"id": "shop " + part.name, "steps": []any{answer}})
		fmt.Println(string(line))
	}
}

var parts = []struct {
	name string
	run  func() (any, error)
}{
	{"schema", func() (any, error) { return nil, db.AutoMigrate(&Customer{}, &Order{}) }},
	{"schema again", func() (any, error) { return nil, db.AutoMigrate(&Customer{}, &Order{}) }},
	{"create", create},
	{"read", read},
	{"aggregate", func() (any, error) {
		var found struct {
			Sum   float64
			Count int
		}
		return &found, db.Model(&Order{}).Select("SUM(total) AS sum, COUNT(*) AS count").Where("customer_id = ?", 1).Scan(&found).Error
	}},
	{"update", update},
	{"commit", commit},
	{"rollback", rollback},
	{"every", every},
	{"every ordered", func() (any, error) {
		var found []Customer
		return &found, db.Order("name").Limit(3).Find(&found).Error
	}},
	{"count", func() (any, error) {
		var count int64
		return &count, db.Model(&Customer{}).Count(&count).Error
	}},
	{"prepared", func() (any, error) {
		var found []Order
		prepared := db.Session(&gorm.Session{PrepareStmt: true})
		for range 3 {
			if err := prepared.Where("customer_id = ?", 1).Order("number").Find(&found).Error; err != nil {
				return nil, err
			}
		}
		return found, nil
	}},
	{"tables", tables},
	{"delete", func() (any, error) {
		result := db.Where("customer_id = ?", 2).Delete(&Order{})
		return result.RowsAffected, result.Error
	}},
	{"drop", func() (any, error) { return nil, db.Migrator().DropTable(&Order{}, &Customer{}) }},
}

func create() (any, error) {
	for id := int64(1); id <= 5; id++ {
		if err := db.Create(&Customer{ID: id, Name: fmt.Sprintf("customer %d", id)}).Error; err != nil {
			return nil, err
		}
	}
	orders := []Order{{1, 1, 10, false}, {1, 2, 20, false}, {1, 3, 30, false}}
	if err := db.CreateInBatches(orders, 2).Error; err != nil {
		return nil, err
	}
	result := db.Create(&[]Order{{2, 1, 5, false}, {3, 1, 5, false}, {4, 1, 5, true}})
	return result.RowsAffected, result.Error
}

func read() (any, error) {
	var one Customer
	if err := db.First(&one, 1).Error; err != nil {
		return nil, err
	}
	missing := errors.Is(db.First(&Customer{}, 9).Error, gorm.ErrRecordNotFound)
	var orders []Order
	err := db.Where("customer_id = ?", 1).Order("total DESC").Find(&orders).Error
	return []any{one, missing, orders}, err
}

func update() (any, error) {
	changed := db.Model(&Order{}).Where("customer_id = ?", 1).Update("total", gorm.Expr("total + ?", 1))
	if changed.Error != nil {
		return nil, changed.Error
	}
	upsert := clause.OnConflict{Columns: []clause.Column{{Name: "id"}}, DoUpdates: clause.AssignmentColumns([]string{"name"})}
	err := db.Clauses(upsert).Create(&Customer{ID: 1, Name: "renamed"}).Error
	if err != nil {
		return nil, err
	}
	var made Customer
	err = db.Where(Customer{ID: 7}).Attrs(Customer{Name: "seven"}).FirstOrCreate(&made).Error
	return []any{changed.RowsAffected, made}, err
}

func commit() (any, error) {
	err := db.Transaction(func(tx *gorm.DB) error {
		var one Customer
		if err := tx.Clauses(clause.Locking{Strength: "UPDATE"}).First(&one, 1).Error; err != nil {
			return err
		}
		return tx.Transaction(func(inner *gorm.DB) error {
			return inner.Create(&Order{1, 10, 1, false}).Error
		})
	})
	if err != nil {
		return nil, err
	}
	var count int64
	return &count, db.Model(&Order{}).Where("customer_id = ?", 1).Count(&count).Error
}

func rollback() (any, error) {
	back := errors.New("rolled back")
	err := db.Transaction(func(tx *gorm.DB) error {
		if err := tx.Where("customer_id = ?", 1).Delete(&Order{}).Error; err != nil {
			return err
		}
		return back
	})
	if !errors.Is(err, back) {
		return nil, err
	}
	var count int64
	return &count, db.Model(&Order{}).Where("customer_id = ?", 1).Count(&count).Error
}

func every() (any, error) {
	var found []Customer
	if err := db.Find(&found).Error; err != nil {
		return nil, err
	}
	sort.Slice(found, func(a, b int) bool { return found[a].ID < found[b].ID })
	return found, nil
}

func tables() (any, error) {
	types, err := db.Migrator().ColumnTypes(&Order{})
	if err != nil {
		return nil, err
	}
	var names []any
	for _, column := range types {
		nullable, _ := column.Nullable()
		names = append(names, []any{column.Name(), column.DatabaseTypeName(), nullable})
	}
	return []any{names, db.Migrator().HasTable("customers"), db.Migrator().HasColumn(&Order{}, "paid")}, nil
}
