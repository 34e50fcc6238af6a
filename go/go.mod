module gpucv/steptime

go 1.19
