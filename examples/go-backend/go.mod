module example.org/go-backend

go 1.19
