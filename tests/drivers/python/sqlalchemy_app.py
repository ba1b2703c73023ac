"""A small shop by SQLAlchemy over PyMySQL, as it comes: autocommit off, a pool that pings."""

from decimal import Decimal

from sqlalchemy import (BigInteger, Boolean, Integer, Numeric, String, URL, create_engine, delete, func,
                        inspect, select, update)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from shop import cells, given, run

engine = create_engine(
    URL.create("mysql+pymysql", given.user, given.password, given.host, given.port, given.database, {"charset": "utf8mb4"}),
    pool_pre_ping=True, pool_size=2, connect_args={"ssl_disabled": True})


class Base(DeclarativeBase):
    pass


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(60))
    orders: Mapped[list["Order"]] = relationship(
        primaryjoin="Customer.id == foreign(Order.customer_id)", back_populates="customer")


class Order(Base):
    __tablename__ = "orders"
    customer_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    total: Mapped[Decimal] = mapped_column(Numeric(10, 2))
    paid: Mapped[bool] = mapped_column(Boolean, default=False)
    customer: Mapped[Customer] = relationship(
        primaryjoin="Customer.id == foreign(Order.customer_id)", back_populates="orders")


def schema():
    Base.metadata.create_all(engine)
    return {"ok": True}


def create():
    for number in range(1, 6):
        with Session(engine) as session:
            session.add(Customer(id=number, name="customer %d" % number))
            session.commit()
    with Session(engine) as session:
        session.add_all([Order(customer_id=1, number=n, total=n * 10) for n in range(1, 4)])
        session.commit()
    return {"ok": True}


def read():
    with Session(engine) as session:
        one = session.get(Customer, 1)
        orders = session.execute(
            select(Order.number, Order.total, Order.paid).where(Order.customer_id == 1).order_by(Order.total.desc())).all()
        return cells([[one.name, len(one.orders), session.get(Customer, 9)]] + [tuple(row) for row in orders])


def aggregate():
    with Session(engine) as session:
        wanted = select(func.sum(Order.total), func.count(), func.avg(Order.total)).where(Order.customer_id == 1)
        return cells([session.execute(wanted).one()])


def change():
    with Session(engine) as session:
        session.get(Order, (1, 1)).paid = True
        session.flush()
        changed = session.execute(update(Order).where(Order.customer_id == 1).values(total=Order.total + 1)).rowcount
        session.commit()
        return {"changed": changed}


def commit():
    with Session(engine) as session, session.begin():
        session.execute(select(Customer).where(Customer.id == 1).with_for_update()).one()
        session.add(Order(customer_id=1, number=10, total=1))
        session.flush()
        with session.begin_nested():
            session.add(Order(customer_id=1, number=11, total=3))
    with Session(engine) as session:
        return {"count": session.scalar(select(func.count()).select_from(Order).where(Order.customer_id == 1))}


def rollback():
    with Session(engine) as session:
        session.execute(delete(Order).where(Order.customer_id == 1))
        session.rollback()
        return {"count": session.scalar(select(func.count()).select_from(Order).where(Order.customer_id == 1))}


def every():
    with Session(engine) as session:
        return sorted(cells(session.execute(select(Customer.id, Customer.name)).all()))


def every_ordered():
    with Session(engine) as session:
        return cells(session.execute(select(Customer.id).order_by(Customer.name).limit(3)).all())


def count():
    with Session(engine) as session:
        return {"count": session.scalar(select(func.count()).select_from(Customer))}


def stream():
    with engine.connect().execution_options(stream_results=True) as connection:
        return sorted(cells(connection.execute(select(Order.number).where(Order.customer_id == 1))))


def tables():
    about = inspect(engine)
    columns = [[column["name"], str(column["type"]), column["nullable"]] for column in about.get_columns("orders")]
    return cells(columns + [about.get_pk_constraint("orders")["constrained_columns"], [about.has_table("customers")]])


def names():
    return cells([[name] for name in sorted(inspect(engine).get_table_names())])


def drop():
    Base.metadata.drop_all(engine)
    return {"ok": True}


run({
    "schema": schema, "create": create, "read": read, "aggregate": aggregate, "update": change, "commit": commit,
    "rollback": rollback, "every": every, "every ordered": every_ordered, "count": count, "stream": stream,
    "tables": tables, "table names": names, "drop": drop,
}, SQLAlchemyError)
