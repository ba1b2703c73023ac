"""A small shop by Django over mysqlclient: its own migrations, models, transactions, introspection."""

import django
from django.conf import settings

from shop import cells, given, run

settings.configure(
    DATABASES={"default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": given.host, "PORT": given.port, "USER": given.user, "PASSWORD": given.password,
        "NAME": given.database,
        "OPTIONS": {"charset": "utf8mb4"},
        "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True,
    }},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    USE_TZ=True, TIME_ZONE="UTC", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", SECRET_KEY="checklist",
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import Error, connection, models, transaction  # noqa: E402


class Customer(models.Model):
    id = models.BigIntegerField(primary_key=True)
    name = models.CharField(max_length=60)
    joined = models.DateTimeField(null=True)

    class Meta:
        app_label = "shop"
        db_table = "customers"


class Order(models.Model):
    pk = models.CompositePrimaryKey("customer_id", "number")
    customer = models.ForeignKey(Customer, on_delete=models.DO_NOTHING, db_constraint=False)
    number = models.IntegerField()
    total = models.DecimalField(max_digits=10, decimal_places=2)
    paid = models.BooleanField(default=False)

    class Meta:
        app_label = "shop"
        db_table = "orders"


def migrate():
    call_command("migrate", verbosity=0)
    return {"tables": len(connection.introspection.table_names())}


def accounts():
    User.objects.create_user("ann", "ann@example.org", "secret")
    ann = User.objects.get(username="ann")
    store = SessionStore()
    store["cart"] = [1, 2]
    store.create()
    return {"right": ann.check_password("secret"), "cart": SessionStore(store.session_key)["cart"]}


def schema():
    with connection.schema_editor() as editor:
        editor.create_model(Customer)
        editor.create_model(Order)
    return {"ok": True}


def create():
    for number in range(1, 6):
        Customer.objects.create(id=number, name="customer %d" % number)
    Order.objects.bulk_create([Order(customer_id=1, number=n, total=n * 10) for n in range(1, 4)])
    Order.objects.bulk_create([Order(customer_id=c, number=1, total=5) for c in range(2, 6)])
    return {"ok": True}


def read():
    one = Customer.objects.get(id=1)
    orders = Order.objects.filter(customer_id=1).order_by("-total").values_list("number", "total", "paid")
    joined = Order.objects.select_related("customer").filter(customer_id=1, number=2).get()
    return cells([[one.name, one.joined, joined.customer.name, Customer.objects.filter(id=9).exists()]] + list(orders))


def aggregate():
    found = Order.objects.filter(customer_id=1).aggregate(models.Sum("total"), models.Count("number"), models.Avg("total"))
    return cells([sorted(found.items())[n] for n in range(3)])


def update():
    order = Order.objects.get(customer_id=1, number=1)
    order.paid = True
    order.save()
    changed = Order.objects.filter(customer_id=1).update(total=models.F("total") + 1)
    made, new = Customer.objects.update_or_create(id=1, defaults={"name": "renamed"})
    again, found = Customer.objects.get_or_create(id=7, defaults={"name": "seven"})
    return cells([[changed, made.name, new, again.name, found]])


def commit():
    with transaction.atomic():
        Customer.objects.select_for_update().get(id=1)
        Order.objects.create(customer_id=1, number=10, total=1)
        try:
            with transaction.atomic():
                Order.objects.create(customer_id=1, number=10, total=2)
        except Error:
            pass
        Order.objects.create(customer_id=1, number=11, total=3)
    return {"count": Order.objects.filter(customer_id=1).count()}


def rollback():
    try:
        with transaction.atomic():
            Order.objects.filter(customer_id=1).delete()
            raise ValueError
    except ValueError:
        pass
    return {"count": Order.objects.filter(customer_id=1).count()}


def every():
    return sorted(cells(Customer.objects.values_list("id", "name").iterator(chunk_size=2)))


def every_ordered():
    return cells(Customer.objects.order_by("name").values_list("id")[:3])


def count():
    return {"count": Customer.objects.count()}


def tables():
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, "orders")
        keys = connection.introspection.get_constraints(cursor, "orders")
    return cells([[column.name, column.null_ok] for column in columns] + [sorted(keys)])


def delete():
    deleted = Order.objects.filter(customer_id=2).delete()[0]
    Customer.objects.get(id=2).delete()
    return {"deleted": deleted}


def drop():
    with connection.schema_editor() as editor:
        editor.delete_model(Order)
        editor.delete_model(Customer)
    return {"ok": True}


run({
    "migrate": migrate, "accounts": accounts, "schema": schema, "create": create, "read": read, "aggregate": aggregate,
    "update": update, "commit": commit, "rollback": rollback, "every": every, "every ordered": every_ordered,
    "count": count, "tables": tables, "delete": delete, "drop": drop,
}, Error)
